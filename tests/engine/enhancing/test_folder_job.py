"""The job over files: what is written, what a failing photo and Ctrl-C leave behind."""
from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from data.files.images import Photo, read_photo, write_photo
from engine.enhancing import folder_job, photo_queue
from engine.enhancing.enhancement import EnhancementError
from engine.enhancing.folder_job import run_job
from engine.enhancing.job_plan import plan_job
from tests.engine.enhancing.jobs import files_below, interrupted_at_the_second, invert


def test_writes_all_then_skips_then_overwrites(folder, tmp_path):
    out = tmp_path / "out"
    plan = plan_job(folder, out, compare=True)
    assert str(run_job(plan, invert)) == "3 written, 0 skipped, 0 failed"
    names = ["a.png", "b.JPG", "sub/a.png"]
    assert files_below(out) == sorted(names + [f"compare/{name}" for name in names])
    before, after = read_photo(folder / "a.png"), read_photo(out / "a.png")
    np.testing.assert_array_equal(after.pixels, 255 - before.pixels)
    np.testing.assert_array_equal(read_photo(out / "compare/a.png").pixels, np.hstack([before.pixels, after.pixels]))
    assert run_job(plan, lambda _: pytest.fail("nothing is to be done")).skipped == 3
    (out / "compare/sub/a.png").unlink()
    (out / "sub/a.png").write_bytes(b"kept")
    assert (run_job(plan, invert).written, (out / "sub/a.png").read_bytes()) == (1, b"kept")  # only what is missing
    assert run_job(plan, invert, overwrite=True).written == 3
    np.testing.assert_array_equal(read_photo(out / "sub/a.png").pixels, 255 - read_photo(folder / "sub/a.png").pixels)


def test_a_failing_photo_is_named_and_the_rest_goes_on(folder, tmp_path, caplog):
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:-30])
    (tmp_path / "out/sub/a.png").mkdir(parents=True)  # stands where a result should go
    sizes = []

    def enhance(pixels):
        sizes.append(pixels.shape)
        if len(sizes) == 2:
            raise EnhancementError("not enough memory for 16x12 pixels")
        return pixels

    summary = run_job(plan_job(folder, tmp_path / "out"), enhance, overwrite=True)
    reasons = {path.name: reason for path, reason in summary.failed}
    assert summary.written == 1 and len(summary.failed) == 3
    assert reasons["broken.png"].startswith("damaged") and reasons["b.JPG"] == "not enough memory for 16x12 pixels"
    assert "cannot be written: Is a directory" in reasons["a.png"]
    assert f"failed: {folder / 'broken.png'}: damaged" in caplog.text
    assert files_below(tmp_path / "out") == ["a.png"]


def test_unforeseen_errors_come_with_their_type(folder, tmp_path):
    def fault(_):
        raise KeyError("lost")

    summary = run_job(plan_job(folder / "a.png", tmp_path / "out"), fault)
    assert summary.failed == [(folder / "a.png", "KeyError: 'lost'")]


def test_interruption_keeps_what_is_written(folder, tmp_path):
    plan = plan_job(folder, tmp_path / "out")
    summary = run_job(plan, interrupted_at_the_second())
    assert summary.interrupted and summary.written == 1 and files_below(tmp_path / "out") == ["a.png"]
    assert str(run_job(plan, invert)).startswith("2 written, 1 skipped (already there")


def test_unreadable_folder_counts_as_failed(folder, tmp_path, monkeypatch):
    plan = plan_job(folder, tmp_path / "out")
    plan.unreadable.append((folder / "locked", "Permission denied"))
    assert run_job(plan, invert).failed == [(folder / "locked", "Permission denied")]


def test_decoding_encoding_and_computing_overlap(folder, tmp_path, monkeypatch):
    """The second photo is decoded while the first is computed; the first is encoded while the second is computed."""
    second_decoded, second_computed, waits = threading.Event(), threading.Event(), []

    def read(path, limit):
        if path.name == "b.JPG":
            second_decoded.set()
        return read_photo(path, limit)

    def enhance(pixels):
        if waits:
            second_computed.set()
        waits.append(second_decoded.wait(10))
        return pixels

    def write(path, photo, quality):
        waits.append(second_computed.wait(10))
        write_photo(path, photo)

    monkeypatch.setattr(photo_queue, "read_photo", read)
    monkeypatch.setattr(folder_job, "write_photo", write)
    assert run_job(plan_job(folder, tmp_path / "out"), enhance).written == 3
    assert waits == [True] * 6


def test_a_photo_that_is_named_itself_is_always_made_anew(folder, tmp_path):
    """Another photo of the same name has been there; its comparison goes, too."""
    out = tmp_path / "out"
    run_job(plan_job(folder / "a.png", out, compare=True), invert)
    summary = run_job(plan_job(folder / "sub/a.png", out, compare=True), invert)
    assert (summary.written, summary.skipped) == (1, 0)
    before, after = read_photo(folder / "sub/a.png").pixels, read_photo(out / "a.png").pixels
    np.testing.assert_array_equal(after, 255 - before)
    np.testing.assert_array_equal(read_photo(out / "compare/a.png").pixels, np.hstack([before, after]))


def test_pictures_too_wide_for_a_file_side_by_side_are_put_one_below_the_other(tmp_path, make_photo):
    for suffix in (".webp", ".png"):
        write_photo(tmp_path / f"in/wide{suffix}", Photo(make_photo(3, 8192)))
    assert run_job(plan_job(tmp_path / "in", tmp_path / "out", compare=True), invert).written == 2
    assert read_photo(tmp_path / "out/compare/wide.webp").pixels.shape == (6, 8192, 3)
    assert read_photo(tmp_path / "out/compare/wide.png").pixels.shape == (3, 16384, 3)


def test_a_named_pipe_is_named_and_waited_for_by_no_one(folder, tmp_path):
    os.mkfifo(folder / "pipe.png")
    summary = run_job(plan_job(folder, tmp_path / "out"), invert)
    assert summary.written == 3 and "named pipe" in summary.failed[0][1]
