"""Evaluation on small synthetic benchmark sets: scores, files, failures, several processes, constant memory."""
from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.benchmarks import BenchmarkSet
from data.files.images import Photo, read_photo, write_photo
from engine.scoring import evaluation
from engine.scoring.evaluation import EvaluationError, evaluate, run
from metrics.psnr import psnr
from metrics.ssim import ssim
from metrics.suite import Scores

PROJECT = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")


def brighten(pixels):
    full = np.iinfo(pixels.dtype).max
    return np.round(full * (pixels / full) ** 0.5).astype(pixels.dtype)


@pytest.fixture(autouse=True)
def quick_metrics(monkeypatch):
    """Metrics without networks; tests/metrics covers the others."""
    monkeypatch.setattr(evaluation, "PAIRED", ("psnr", "ssim"))
    monkeypatch.setattr(evaluation, "UNPAIRED", ())


@pytest.fixture
def make_set(tmp_path, make_photo):
    """`make_set("LOL", 5)` -> a paired set of 5 pictures, each darker than the one before; `paired=False`: without high."""
    def make(name, count, paired=True):
        folder = tmp_path / "dataset" / name
        for n in range(count):
            picture = make_photo(36, 48, n)
            write_photo(folder / "low" / f"low{n}.png", Photo((picture // (2 + n)).astype(np.uint8)))
            if paired:
                write_photo(folder / "high" / f"normal{n}.png", Photo(picture))
        return BenchmarkSet(name, folder / "low", folder / "high" if paired else None)
    return make


def test_scores_are_those_of_the_saved_pictures(make_set, tmp_path):
    lol = make_set("LOL", 4)
    (result,) = evaluate([lol], brighten, tmp_path / "out", CPU)
    assert [picture.name for picture in result.pictures] == [f"low{n}.png" for n in range(4)]
    for n, picture in enumerate(result.pictures):
        saved = read_photo(tmp_path / "out/LOL/pictures" / picture.name).pixels
        dark, bright = (read_photo(f).pixels for f in (lol.low / f"low{n}.png", lol.high / f"normal{n}.png"))
        np.testing.assert_array_equal(saved, brighten(dark))
        assert picture.output == {"psnr": psnr(saved, bright), "ssim": ssim(saved, bright)}
        assert picture.input == {"psnr": psnr(dark, bright), "ssim": ssim(dark, bright)}
    assert result.means()["psnr"] == pytest.approx(np.mean([p.output["psnr"] for p in result.pictures]))


def test_all_files_are_written_and_agree(make_set, tmp_path):
    results = evaluate([make_set("LOL", 4), make_set("Other", 1)], brighten, tmp_path, CPU, settings={"weights": "none"})
    rows = list(csv.DictReader((tmp_path / "LOL/scores.csv").open(encoding="utf-8")))
    assert [row["picture"] for row in rows] == [f"low{n}.png" for n in range(4)]
    assert [float(row["psnr"]) for row in rows] == [p.output["psnr"] for p in results[0].pictures]
    assert {row["width"] for row in rows} == {"48"} and all(float(row["input_ssim"]) < 1 for row in rows)
    summary = json.loads((tmp_path / "LOL/summary.json").read_text())
    assert summary["metrics"]["psnr"]["mean"] == pytest.approx(results[0].means()["psnr"])
    assert "data range 1" in summary["metrics"]["psnr"]["definition"] and summary["settings"] == {"weights": "none"}
    page = (tmp_path / "LOL/summary.md").read_text()
    assert f"{results[0].means()['psnr']:.2f}" in page and "`ssim`: SSIM with an 11x11 Gaussian window" in page
    overview = (tmp_path / "summary.md").read_text()
    assert "| LOL " in overview and "| Other " in overview and "weights: none" in overview
    assert [b["scored"] for b in json.loads((tmp_path / "summary.json").read_text())["benchmarks"]] == [4, 1]


def test_best_and_worst_pictures_stand_in_rows_of_input_output_reference(make_set, tmp_path):
    (result,) = evaluate([make_set("LOL", 6)], brighten, tmp_path, CPU)
    sheet = read_photo(tmp_path / "LOL/best_and_worst.png").pixels
    row = round(480 * 36 / 48) + 22 + 10
    assert sheet.shape == (22 + 4 * row, 3 * 490 + 10, 3)
    ranked = sorted(result.pictures, key=lambda p: -p.output["psnr"])
    for position, picture in enumerate([*ranked[:2], *ranked[-2:]]):
        top = 22 + position * row + 22
        files = (picture.low, tmp_path / "LOL/pictures" / picture.name, picture.high)
        for column, file in enumerate(files):
            shown = sheet[top:top + 360, 10 + column * 490:][:, :480]
            expected = np.asarray(Image.fromarray(read_photo(file).pixels).resize((480, 360), Image.Resampling.LANCZOS))
            np.testing.assert_array_equal(shown, expected)


def test_sixteen_bit_and_jpeg_inputs_give_eight_bit_png(tmp_path, make_photo):
    picture = make_photo(30, 40, 0)
    write_photo(tmp_path / "low/deep.png", Photo(picture.astype(np.uint16) * 64))
    write_photo(tmp_path / "low/flat.jpg", Photo(picture // 4))
    for name in ("deep", "flat"):
        write_photo(tmp_path / f"high/{name}.png", Photo(picture))
    (result,) = evaluate([BenchmarkSet("X", tmp_path / "low", tmp_path / "high")], brighten, tmp_path / "out", CPU)
    saved = {name: read_photo(tmp_path / f"out/X/pictures/{name}.png").pixels for name in ("deep", "flat")}
    assert all(pixels.dtype == np.uint8 for pixels in saved.values())
    expected = np.round(brighten(picture.astype(np.uint16) * 64) / 257).astype(np.uint8)
    np.testing.assert_array_equal(saved["deep"], expected)
    assert not result.failed


def test_one_bad_picture_is_named_and_the_rest_is_scored(make_set, tmp_path, make_photo, caplog, capsys):
    lol = make_set("LOL", 4)
    (lol.low / "low1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    write_photo(lol.high / "normal2.png", Photo(make_photo(36, 50, 2)))
    assert run([lol, make_set("Good", 2)], brighten, tmp_path / "out", CPU) == 1
    summary = json.loads((tmp_path / "out/LOL/summary.json").read_text())
    assert summary["scored"] == 2 and set(summary["failed"]) == {"low1.png", "low2.png"}
    sizes = summary["failed"]["low2.png"]
    assert "low2.png has 48x36" in sizes and "normal2.png has 50x36" in sizes
    assert "low1.png" in summary["failed"]["low1.png"] and "low1.png" in caplog.text
    assert "2 of 4" in capsys.readouterr().out
    assert len(list((tmp_path / "out/Good/pictures").iterdir())) == 2


def test_a_failing_network_fails_every_picture_and_not_the_evaluation(make_set, tmp_path, caplog):
    def broken(pixels):
        raise RuntimeError("the network is broken")

    (result,) = evaluate([make_set("LOL", 2)], broken, tmp_path, CPU)
    assert [picture.problem for picture in result.pictures] == ["RuntimeError: the network is broken"] * 2
    assert "Traceback" in caplog.text and result.means() == {}
    assert "0 of 2" in (tmp_path / "summary.md").read_text()


def test_ctrl_c_keeps_the_scores_until_then(make_set, tmp_path):
    calls = []

    def interrupted_at_the_third(pixels):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return brighten(pixels)

    with pytest.raises(KeyboardInterrupt):
        run([make_set("LOL", 4), make_set("Next", 2)], interrupted_at_the_third, tmp_path / "out", CPU)
    summary = json.loads((tmp_path / "out/LOL/summary.json").read_text())
    assert (summary["scored"], summary["problem"]) == (2, "interrupted after 2 pictures")
    assert len((tmp_path / "out/LOL/scores.csv").read_text().splitlines()) == 1 + 2
    assert "LOL: interrupted after 2 pictures" in (tmp_path / "out/summary.md").read_text()
    assert not (tmp_path / "out/Next").exists()


def test_ctrl_c_leaves_an_earlier_evaluation_as_it_is(make_set, tmp_path):
    def interrupted(pixels):
        raise KeyboardInterrupt

    sets = [make_set("LOL", 2), make_set("Next", 2)]
    run(sets, brighten, tmp_path / "out", CPU)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    with pytest.raises(KeyboardInterrupt):
        run(sets, interrupted, tmp_path / "out", CPU)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before


def test_trouble_of_a_whole_set_ends_neither_the_evaluation_nor_the_gathering(make_set, tmp_path, monkeypatch, caplog):
    class Unbuildable(evaluation.MetricSuite):
        def __post_init__(self):
            raise MemoryError("no room for the network")

    monkeypatch.setattr(evaluation, "MetricSuite", Unbuildable)
    results = evaluate([make_set("LOL", 2)], brighten, tmp_path / "out", CPU)
    assert results[0].problem == "MemoryError: no room for the network" and results[0].pictures == []
    assert "no room" in (tmp_path / "out/summary.md").read_text() and "no room" in caplog.text


def test_results_that_cannot_be_written_are_one_error_at_the_end(make_set, tmp_path):
    (tmp_path / "out/One").mkdir(parents=True)
    (tmp_path / "out/One/scores.csv").mkdir()
    with pytest.raises(EvaluationError, match="could not be written"):
        evaluate([make_set("One", 1), make_set("Two", 1)], brighten, tmp_path / "out", CPU)
    assert (tmp_path / "out/Two/scores.csv").is_file()


def test_a_set_that_cannot_be_paired_is_one_failure(make_set, tmp_path, caplog):
    odd = make_set("Odd", 2)
    (odd.high / "normal1.png").unlink()
    results = evaluate([odd, make_set("Good", 1)], brighten, tmp_path / "out", CPU)
    assert "low1.png" in results[0].problem and len(results[1].scored) == 1
    assert "low1.png" in caplog.text and "low1.png" in (tmp_path / "out/summary.md").read_text()


def test_absent_sets_are_one_warning_and_fail_only_where_they_are_required(make_set, tmp_path, caplog):
    absent = [BenchmarkSet(name, tmp_path / name / "low", tmp_path / name / "high") for name in ("A1", "A2")]
    sets = [*absent, make_set("Good", 1)]
    assert run(sets, brighten, tmp_path / "out", CPU, required=False) == 0
    assert len([r for r in caplog.records if "A1, A2" in r.getMessage()]) == 1
    assert run(sets, brighten, tmp_path / "out", CPU) == 1
    caplog.clear()
    with pytest.raises(EvaluationError, match=r"A1: no folder .*\nA2: no folder .*\n.*data\.check") as error:
        run(absent, brighten, tmp_path / "out", CPU, required=False)
    assert f"{caplog.text}{error.value}".count("dataset/README.md") == 1  # said once, not for each


def test_results_never_lie_among_the_sources(make_set):
    lol = make_set("LOL", 1)
    (result,) = evaluate([BenchmarkSet("x", lol.low, lol.high)], brighten, lol.low, CPU)
    assert "choose another output folder" in result.problem
    assert [file.name for file in lol.low.glob("*.png")] == ["low0.png"]


def test_missing_and_undefined_metrics_are_reported_and_the_others_run(make_set, tmp_path, monkeypatch, caplog):
    class HalfSuite(evaluation.MetricSuite):
        def __post_init__(self):
            super().__post_init__()
            self.available.pop("ssim")
            self.missing["ssim"] = "the file /weights/ssim.pth is absent"

        def score(self, output, reference=None, source=None):
            scores = super().score(output, reference, source)
            if output.shape[1] == 20:
                scores["psnr"], scores.reasons["psnr"] = float("nan"), "too small"
            return scores

    monkeypatch.setattr(evaluation, "MetricSuite", HalfSuite)
    lol = make_set("LOL", 2)
    for folder, name in ((lol.low, "low1.png"), (lol.high, "normal1.png")):
        write_photo(folder / name, Photo(np.full((20, 20, 3), 90, np.uint8)))
    assert run([lol], brighten, tmp_path / "out", CPU) == 0
    rows = list(csv.DictReader((tmp_path / "out/LOL/scores.csv").open()))
    assert [row["ssim"] for row in rows] == ["missing"] * 2 and rows[1]["psnr"] == "" and "too small" in rows[1]["problem"]
    for page in ("out/summary.md", "out/LOL/summary.md"):
        text = (tmp_path / page).read_text()
        assert "/weights/ssim.pth" in text and "missing |" in text and "no psnr: too small" in text
    assert "/weights/ssim.pth" in caplog.text


def test_equal_pictures_have_infinite_psnr_in_valid_json(make_set, tmp_path):
    lol = make_set("LOL", 1)
    evaluate([BenchmarkSet("same", lol.high, lol.high)], lambda pixels: pixels, tmp_path / "out", CPU)
    metrics = json.loads((tmp_path / "out/same/summary.json").read_text(), parse_constant=pytest.fail)["metrics"]
    assert metrics["psnr"]["mean"] == "inf" and metrics["ssim"]["mean"] == pytest.approx(1)


def test_only_the_first_pictures_while_training_and_no_inputs(make_set, tmp_path):
    (result,) = evaluate([make_set("LOL", 5)], brighten, tmp_path, CPU, max_images=2, score_inputs=False,
                         metrics=["psnr", "lpips"])
    assert [p.name for p in result.pictures] == ["low0.png", "low1.png"]
    assert result.metrics == ["psnr"] and result.means("input") == {}
    assert "input" not in (tmp_path / "summary.md").read_text().lower()


def test_unpaired_sets_have_no_reference_column(make_set, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "UNPAIRED", ("piqe",))

    class Contrast(evaluation.MetricSuite):
        def __post_init__(self):
            self.available, self.missing = {}, {}

        def score(self, output, reference=None, source=None):
            assert reference is None
            scores = Scores()
            scores["piqe"] = float(output.std())
            return scores

    monkeypatch.setattr(evaluation, "MetricSuite", Contrast)
    (result,) = evaluate([make_set("DICM", 4, paired=False)], brighten, tmp_path, CPU)
    assert result.means()["piqe"] > result.means("input")["piqe"]
    assert read_photo(tmp_path / "DICM/best_and_worst.png").pixels.shape[1] == 2 * 490 + 10
    assert json.loads((tmp_path / "DICM/summary.json").read_text())["high"] is None


def test_memory_does_not_grow_with_the_number_of_pictures(make_set, tmp_path):
    import tracemalloc

    def peak(count):
        benchmark = make_set(f"N{count}", count)
        tracemalloc.start()
        try:
            evaluate([benchmark], brighten, tmp_path / "out", CPU, score_inputs=False)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(4)  # imports and caches; four pictures fill the sheet of the best and worst
    assert peak(16) < peak(4) + 12 * 36 * 48 * 3  # less than one of the three pictures of each pair


TOO_DARK = 60  # of the brightest value, so that some pictures of a set fail


def brighten_all_but_the_darkest(pixels):
    if pixels.max() < TOO_DARK:
        raise RuntimeError("too dark")
    return brighten(pixels)


def evaluate_three_sets(dataset, output_dir):
    sets = [BenchmarkSet(name, dataset / name / "low", dataset / name / "high") for name in ("One", "Five", "Absent")]
    results = evaluate(sets, brighten_all_but_the_darkest, output_dir, CPU)
    return [len(result.pictures) for result in results], results[1].means()["psnr"]


SCRIPT = """
import os
import sys
from pathlib import Path
import test_evaluation
from engine.program import leave
test_evaluation.evaluation.PAIRED = ("psnr", "ssim")
dataset, output_dir = map(Path, sys.argv[1:])
found = [test_evaluation.evaluate_three_sets(dataset, output_dir)]
test_evaluation.torch.distributed.init_process_group("gloo")  # as in a training, between whose epochs the scoring comes
found += [test_evaluation.evaluate_three_sets(dataset, output_dir) for _ in range(4)]
(output_dir / f"found{os.environ['RANK']}").write_text(str(found))  # lines of two processes on one pipe can mix
leave(0)
"""


def test_two_processes_share_the_pictures_and_find_what_one_finds(make_set, tmp_path):
    for name, count in (("One", 1), ("Five", 5)):
        make_set(name, count)
    found = evaluate_three_sets(tmp_path / "dataset", tmp_path / "out1")
    assert found[0] == [1, 5, 0]
    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join([str(PROJECT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv_backend", "c10d",
         "--rdzv_endpoint", "localhost:0", script, tmp_path / "dataset", tmp_path / "out2"],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, cwd=PROJECT, capture_output=True, text=True,
        timeout=300)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / "out2" / f"found{rank}").read_text() for rank in range(2)] == [str([found] * 5)] * 2
    for name in ("One", "Five"):
        one, two = (list(csv.DictReader((tmp_path / folder / name / "scores.csv").open())) for folder in ("out1", "out2"))
        assert [{**row, "seconds": ""} for row in one] == [{**row, "seconds": ""} for row in two]
    assert any("too dark" in row["problem"] for row in two)
