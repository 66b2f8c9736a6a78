"""Files of an evaluation: per set the scores of each picture (CSV), a summary (JSON, Markdown) and the best and worst
pictures; for all sets one table."""
from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files.images import write_atomically, write_photo
from engine.scoring.extremes import best_and_worst
from engine.scoring.scores import SetScores
from metrics.suite import METRICS

PLACES = {name: 0 if name == "loe" else 2 if name.startswith("psnr") or name in ("niqe", "piqe", "brisque") else 4
          for name in METRICS}


def write_set(result: SetScores, folder: Path, pictures: Path | None, settings: Mapping[str, Any]) -> None:
    """Write scores.csv, summary.json, summary.md and best_and_worst.png into `folder`.

    pictures: the folder of the enhanced pictures; None: no best_and_worst.png, which takes seconds.
    Raises OSError or PhotoError.
    """
    _write_csv(result, folder / "scores.csv")
    _write_json(_summary(result, settings), folder / "summary.json")
    _write_text(_set_page(result, settings), folder / "summary.md")
    extremes = None if pictures is None else best_and_worst(result, pictures)
    if extremes is not None:
        write_photo(folder / "best_and_worst.png", extremes)


def write_overview(results: Sequence[SetScores], folder: Path, settings: Mapping[str, Any]) -> None:
    """Write summary.md and summary.json of all sets into `folder`. Raises OSError."""
    _write_json({"settings": dict(settings), "benchmarks": [_summary(result) for result in results]}, folder / "summary.json")
    missing = {name: reason for result in results for name, reason in result.missing.items()}
    problems = [line for result in results for line in _problems(result)]
    names = [name for name in METRICS if any(name in result.metrics for result in results)]
    page = ["# Benchmarks", "", *_settings_lines(settings), overview_table(results), "",
            *_notes(names, missing, problems, any(p.input for result in results for p in result.pictures))]
    _write_text("\n".join(page), folder / "summary.md")


def overview_table(results: Iterable[SetScores]) -> str:
    """A Markdown table: sets down, metrics across; below each set's row that of its dark input, where it was scored."""
    results = list(results)
    names = [name for name in METRICS if any(name in result.metrics for result in results)]
    rows = []
    for result in results:
        rows.append([result.name, _count(result), *_cells(result, "output", names)])
        if result.means("input"):
            rows.append(["  input", "", *_cells(result, "input", names)])
    return _table(["benchmark", "pictures", *map(_heading, names)], rows)


def _summary(result: SetScores, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    output, dark = result.means("output"), result.means("input")
    summary: dict[str, Any] = {
        "benchmark": result.name, "low": str(result.benchmark.low.resolve()),
        "high": None if result.benchmark.high is None else str(result.benchmark.high.resolve()),
        "pictures": len(result.pictures), "scored": len(result.scored), "problem": result.problem,
        "failed": {picture.name: picture.problem for picture in result.failed},
        "metrics": {name: {"mean": output.get(name), "mean_of_input": dark.get(name),
                           "pictures": sum(name in picture.output for picture in result.scored),
                           "definition": METRICS[name].definition, "higher_is_better": METRICS[name].higher_is_better}
                    for name in result.metrics},
        "missing_metrics": result.missing,
    }
    return summary if settings is None else {**summary, "settings": dict(settings)}


def _set_page(result: SetScores, settings: Mapping[str, Any]) -> str:
    rows = [[kind, *_cells(result, kind, result.metrics)] for kind in ("output", "input") if result.means(kind)]
    scored = f"{len(result.scored)} of {len(result.pictures)} pictures scored; means over them of per-picture values."
    has_input = any(picture.input for picture in result.pictures)
    return "\n".join([
        f"# {result.name}", "", scored, "", *_settings_lines(settings),
        _table(["", *map(_heading, result.metrics)], rows), "",
        *_notes(result.metrics, result.missing, _problems(result), has_input)])


def _notes(names: Iterable[str], missing: Mapping[str, str], problems: Sequence[str], has_input: bool) -> list[str]:
    """Definitions, missing metrics and failures, as lists."""
    lines = ["Scored is the saved 8-bit picture. ↑ higher is better, ↓ lower is better."
             + (" Input: the dark picture itself, unchanged." if has_input else ""), ""]
    lines += [f"- `{name}`: {METRICS[name].definition}" for name in names]
    if missing:
        lines += ["", "Missing on this machine:", "", *(f"- `{name}`: {reason}" for name, reason in missing.items())]
    if problems:
        lines += ["", "Not scored:", "", *(f"- {problem}" for problem in problems)]
    return [*lines, ""]


def _problems(result: SetScores) -> list[str]:
    whole = [f"{result.name}: {result.problem}"] if result.problem else []
    gaps = [f"{result.name}, {picture.name}: no {metric}: {reason}" for picture in result.scored
            for metric, reason in picture.gaps.items()]
    return whole + [f"{result.name}, {picture.name}: {picture.problem}" for picture in result.failed] + gaps


def _settings_lines(settings: Mapping[str, Any]) -> list[str]:
    return [*(f"- {name}: {value}" for name, value in settings.items()), ""] if settings else []


def _count(result: SetScores) -> str:
    if not result.pictures:
        return "absent" if result.absent else "failed"
    return str(len(result.scored)) + (f" of {len(result.pictures)}" if result.failed else "")


def _cells(result: SetScores, kind: str, names: Iterable[str]) -> list[str]:
    means = result.means(kind)
    return [f"{means[name]:.{PLACES[name]}f}" if name in means else "missing" if name in result.missing else ""
            for name in names]


def _heading(name: str) -> str:
    return f"{name} {'↑' if METRICS[name].higher_is_better else '↓'}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned as plain text too; the first column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:],
                                                                                         strict=True))]) + " |"
    rule = "|" + "|".join([":" + "-" * (widths[0] + 1), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def _write_csv(result: SetScores, path: Path) -> None:
    """One row per picture; a metric that is missing on this machine says so, one that a picture lacks is empty."""
    inputs = [name for name in result.metrics if any(name in picture.input for picture in result.pictures)]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["picture", "width", "height", *result.metrics, *(f"input_{name}" for name in inputs), "seconds",
                     "problem"])
    for picture in result.pictures:
        gaps = [picture.problem] if picture.problem else [f"{name}: {why}" for name, why in picture.gaps.items()]
        writer.writerow([
            picture.name, picture.width, picture.height,
            *(picture.output.get(name, "missing" if name in result.missing else "") for name in result.metrics),
            *(picture.input.get(name, "") for name in inputs), f"{picture.seconds:.3f}", "; ".join(gaps)])
    _write_text(text.getvalue(), path)


def _write_json(content: Any, path: Path) -> None:
    _write_text(json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n", path)


def _finite(value: Any) -> Any:
    """JSON has no infinity (the PSNR of equal pictures): it becomes the text "inf"."""
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _write_text(text: str, path: Path) -> None:
    write_atomically(path, text.encode(errors="backslashreplace"))  # names of files need not be UTF-8
