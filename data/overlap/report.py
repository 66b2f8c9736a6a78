"""Files of the overlap study: matrix.csv, matches.csv, heatmap.png, overlap.json."""
from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.overlap.study import Overlap, Verification

_LABEL_WIDTH, _HEADER, _FOOTER = 150, 40, 70  # pixels around the matrix
_GREY, _RED, _INK = (200, 200, 200), (0, 0, 255), (40, 40, 40)  # BGR
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def write_report(overlap: Overlap, verification: Verification | None, folder: Path) -> list[str]:
    """Write all files into `folder` and return the lines to print."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_matrix(overlap, folder / "matrix.csv")
    _write_matches(overlap, folder / "matches.csv")
    cv2.imencode(".png", heat_map(overlap))[1].tofile(folder / "heatmap.png")  # imwrite knows no Unicode on Windows
    figures = _figures(overlap, verification)
    (folder / "overlap.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8", errors="backslashreplace")
    return _lines(figures, verification, folder)


def _figures(overlap: Overlap, verification: Verification | None) -> dict:
    compared = int((~np.isnan(overlap.ssim)).sum())
    figures: dict[str, Any] = {
        "test_pictures": len(overlap.tests), "train_pictures": len(overlap.trains), "threshold": overlap.threshold,
        "matches": len(overlap.matches), "test_pictures_with_match": len({test for test, *_ in overlap.matches}),
        "pairs": compared, "pairs_not_comparable": overlap.ssim.size - compared,
        "pairs_in_full": int(overlap.is_full.sum()),
        "seconds": round(overlap.seconds, 2), "pairs_per_second": round(compared / max(overlap.seconds, 1e-9), 1),
    }
    if verification is not None:
        recall = None if np.isnan(verification.recall) else verification.recall
        figures["verification"] = {**vars(verification), "recall": recall}
    return figures


def _lines(figures: dict, verification: Verification | None, folder: Path) -> list[str]:
    lines = [
        "{test_pictures} test and {train_pictures} training pictures: {pairs} pairs in {seconds} s ({pairs_per_second} "
        "pairs/s), {pairs_in_full} of them in full; {pairs_not_comparable} not comparable (same file, or other size)",
        "{test_pictures_with_match} of {test_pictures} test pictures have a match at SSIM >= {threshold} "
        "({matches} pairs)"]
    lines = [line.format(**figures) for line in lines]
    if verification is not None:
        v = verification
        lines.append(f"verification: {v.checked} of {v.ruled_out} ruled-out pairs computed in full "
                     f"({v.pairs_per_second:.0f} pairs/s): {v.missed} matches missed beside {v.found} found, "
                     f"recall {v.recall:.4f}; largest error of the estimate {v.largest_error:.4f}")
    return [*lines, f"written: {folder}/matrix.csv, matches.csv, heatmap.png, overlap.json"]


def _write_matrix(overlap: Overlap, path: Path) -> None:
    """One row per test picture, one column per training picture; six decimals in full, three where estimated."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["test", *(train.name for train in overlap.trains)])
        for test, row, full in zip(overlap.tests, overlap.ssim, overlap.is_full, strict=True):
            writer.writerow([test.name, *("" if np.isnan(score) else f"{score:.6f}" if exact else f"{score:.3f}"
                                          for score, exact in zip(row, full, strict=True))])


def _write_matches(overlap: Overlap, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["test", "train", "score", "rank"])
        for test, train, score, rank in overlap.matches:
            writer.writerow([overlap.tests[test], overlap.trains[train], f"{score:.6f}", rank])


def heat_map(overlap: Overlap) -> np.ndarray:
    """The matrix as a picture, uint8 (h, w, 3) BGR: SSIM 0..1 dark to light, matches red, what is not comparable grey.

    Wide matrices are folded column by column (largest score of each bin), so that no match disappears.
    """
    ssim = _fold(overlap.ssim, 1600)
    colours = cv2.applyColorMap(np.round(255 * np.nan_to_num(ssim).clip(0, 1)).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    colours[np.isnan(ssim)] = _GREY
    colours[np.nan_to_num(ssim, nan=-1) >= overlap.threshold] = _RED
    cell_width, cell_height = (int(np.clip(limit // count, 1, 24)) for limit, count in zip((1600, 1200), ssim.shape[::-1],
                                                                                          strict=True))
    cells = colours.repeat(cell_height, 0).repeat(cell_width, 1)
    height, width = cells.shape[:2]
    canvas = np.full((height + _HEADER + _FOOTER, max(width, 360) + _LABEL_WIDTH + 10, 3), 255, np.uint8)
    canvas[_HEADER:_HEADER + height, _LABEL_WIDTH:_LABEL_WIDTH + width] = cells
    _write(canvas, f"SSIM of test (rows) and training references (columns); red: >= {overlap.threshold:g}", 5, 20)
    every = -(-14 // cell_height)  # rows per label, so that labels do not run into one another
    for row in range(0, len(overlap.tests), every):
        _write(canvas, overlap.tests[row].stem[:20], 5, _HEADER + row * cell_height + cell_height // 2 + 4)
    for x in range(0, width, 120):
        column = x * len(overlap.trains) // width
        _write(canvas, overlap.trains[column].stem[:14], _LABEL_WIDTH + x, _HEADER + height + 16)
    _draw_scale(canvas, _HEADER + height + 30)
    return canvas


def _fold(ssim: np.ndarray, columns: int) -> np.ndarray:
    if ssim.shape[1] <= columns:
        return ssim
    starts = np.arange(columns) * ssim.shape[1] // columns
    folded = np.maximum.reduceat(np.nan_to_num(ssim, nan=-np.inf), starts, axis=1)
    return np.where(np.isneginf(folded), np.nan, folded)


def _draw_scale(canvas: np.ndarray, top: int) -> None:
    ramp = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_VIRIDIS)
    canvas[top:top + 12, _LABEL_WIDTH:_LABEL_WIDTH + 256] = ramp
    for value in (0, 0.5, 1):
        _write(canvas, f"{value:g}", _LABEL_WIDTH + int(value * 245), top + 28)


def _write(canvas: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(canvas, text.encode("ascii", "replace").decode(), (x, y), _FONT, 0.4, _INK, 1, cv2.LINE_AA)
