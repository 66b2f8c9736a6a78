"""The job over files: what goes where, what is refused, what a failing photo and Ctrl-C leave behind."""
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from data.files.images import Photo, read_photo, write_photo
from engine.enhancing import folder_job, photo_queue
from engine.enhancing.contact_sheet import contact_sheet
from engine.enhancing.enhancement import EnhancementError
from engine.enhancing.folder_job import run_job
from engine.enhancing.job_plan import JobError, describe_ignored, plan_job
from engine.enhancing.job_record import FILE, JobRecord, job_settings

PROJECT = Path(__file__).resolve().parents[3]


def interrupted_at_the_second():
    """An enhancer during whose second photo Ctrl-C is pressed."""
    calls = []

    def enhance(pixels):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return pixels

    return enhance


def invert(pixels):
    return np.iinfo(pixels.dtype).max - pixels


@pytest.fixture
def folder(tmp_path, make_photo):
    """a.png, b.JPG, sub/a.png and a text file."""
    source = tmp_path / "in"
    for seed, name in enumerate(("a.png", "b.JPG", "sub/a.png")):
        write_photo(source / name, Photo(make_photo(12, 16, seed)))
    (source / "notes.txt").write_text("no photo")
    (source / ".hidden.png").write_bytes(b"")
    return source


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# --- the plan ---

def test_names_and_folders_are_mirrored(folder, tmp_path):
    plan = plan_job(folder, tmp_path / "out", compare=True)
    assert [str(t.output.relative_to(tmp_path / "out")) for t in plan.tasks] == ["a.png", "b.JPG", "sub/a.png"]
    assert plan.tasks[2].compare == tmp_path / "out/compare/sub/a.png"
    assert describe_ignored(plan.ignored) == "1 .txt"
    converted = plan_job(folder, tmp_path / "out", output_format="webp")
    assert [t.output.name for t in converted.tasks] == ["a.webp", "b.webp", "a.webp"]
    assert plan_job(folder / "b.JPG", tmp_path / "out").tasks[0].output == tmp_path / "out/b.JPG"


def test_results_below_the_input_are_not_enhanced_again(folder, tmp_path, caplog):
    plan_job(folder, tmp_path / "in2")
    assert not caplog.records
    run_job(plan_job(folder, folder / "out", compare=True), invert)
    assert [r.getMessage() for r in caplog.records if f"{folder / 'out'} lies in the input folder {folder}" in r.getMessage()]
    assert [t.source.name for t in plan_job(folder, folder / "out").tasks] == ["a.png", "b.JPG", "a.png"]


@pytest.mark.parametrize("way", ["same folder", "dots", "link to the folder", "link in the output", "own folder of a file"])
def test_never_over_an_input(folder, tmp_path, way):
    source, out = folder, tmp_path / "out"
    if way == "same folder":
        out = folder
    elif way == "dots":
        out = folder / "sub" / ".."
    elif way == "link to the folder":
        out.symlink_to(folder)
    elif way == "link in the output":
        out.mkdir()
        os.link(folder / "a.png", out / "b.JPG")
    else:
        source, out = folder / "a.png", folder
    with pytest.raises(JobError, match="is the input"):
        plan_job(source, out)


def test_two_photos_for_one_result_are_named(folder, tmp_path, make_photo):
    write_photo(folder / "a.tif", Photo(make_photo(4, 4)))
    plan_job(folder, tmp_path / "out")
    with pytest.raises(JobError, match=r"a\.png and .*a\.tif would both become .*a\.jpg"):
        plan_job(folder, tmp_path / "out", output_format="jpg")


def test_a_contact_sheet_is_no_photo_by_whatever_path(folder, tmp_path):
    out = tmp_path / "out"
    run_job(plan_job(folder, out), invert)
    (tmp_path / "link.png").symlink_to(out / "a.png")
    os.link(folder / "a.png", tmp_path / "hard.png")
    for sheet in (out / "../out/a.png", folder / "sub/../a.png", tmp_path / "link.png", tmp_path / "hard.png"):
        with pytest.raises(JobError, match="over a photo"):
            plan_job(folder, out, contact_sheet=sheet)
    for source, place, sheet in ((folder, out, folder / "sub/sheet.png"), (folder / "a.png", out, folder / "b.JPG"),
                                 (folder / "sub", folder, folder / "sub/sheet.png")):  # the results lie above the photos
        with pytest.raises(JobError, match="a run over it would take the sheet for a photo"):
            plan_job(source, place, contact_sheet=sheet)
    assert plan_job(folder, folder / "out", contact_sheet=folder / "out/sheet.png").tasks  # left out as the results are


def test_an_output_folder_that_cannot_be_made_is_told_before_the_work(folder, tmp_path, monkeypatch):
    with pytest.raises(JobError, match=r"lies below the file .*notes\.txt"):
        plan_job(folder, folder / "notes.txt/deep/out")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(JobError, match=f"no permission to write to {tmp_path}"):
        plan_job(folder, tmp_path / "new/out")


def test_wrong_paths_are_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((tmp_path / "none", tmp_path / "out"), "no file or folder"),
        ((tmp_path / "empty", tmp_path / "out"), "no photos in"),
        ((folder / "notes.txt", tmp_path / "out"), "no photo by its name"),
        ((folder, folder / "a.png"), "is a file"),
    ):
        with pytest.raises(JobError, match=message):
            plan_job(*arguments)
    (tmp_path / "out.png").mkdir()
    assert plan_job(folder, tmp_path / "out.png").tasks  # whoever made it knows that it is a folder
    for sheet, message in ((folder / "a.png", "over a photo"), (tmp_path / "out/a.png", "over a photo"),
                           (tmp_path / "sheet.txt", "expected a file name")):
        with pytest.raises(JobError, match=message):
            plan_job(folder, tmp_path / "out", contact_sheet=sheet)


# --- the job ---

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


# --- the record of what made the results ---

@pytest.fixture
def job(folder, tmp_path, caplog):
    """`job(input, overwrite=.., strength=1.0, ..)`: a job into tmp_path/out -> the warnings that it gave."""
    def call(source=folder, enhance=invert, overwrite=False, **settings):
        (tmp_path / "weights").write_bytes(settings.pop("weights", b"x"))
        out = tmp_path / "out"
        record = JobRecord(out, job_settings(source, tmp_path / "weights", **{"strength": 1.0, "seed": 0, **settings}))
        caplog.clear()
        run_job(plan_job(source, out), enhance, overwrite=overwrite, record=record)
        return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]

    return call


def test_results_of_other_settings_are_told_until_they_are_made_anew(job, folder, tmp_path):
    assert job() == job() == []
    (tmp_path / "out/b.JPG").unlink()
    (warning,) = job(strength=0.5, weights=b"y")
    assert "strength 1.0 (now 0.5)" in warning and "weights" in warning and "--overwrite" in warning and "seed" not in warning
    assert "strength 0.5 (now 1.0)" in job()[0]  # b.JPG is of the second job
    assert job(overwrite=True) == job() == []


def test_results_of_another_folder_are_told(job, folder, tmp_path, make_photo):
    for name in ("a.png", "new.png"):
        write_photo(tmp_path / "other" / name, Photo(make_photo(4, 4)))
    job()
    (warning,) = job(tmp_path / "other")
    assert f"input {folder} (now {tmp_path / 'other'})" in warning and "strength" not in warning
    assert job() == []  # nothing of this folder has changed by it
    assert job(folder / "sub/a.png", seed=5, overwrite=True) == []
    assert f"input {folder / 'sub'} (now {folder}), seed 5 (now 0)" in job()[0]


def test_only_the_photos_own_result_is_made_anew_unasked(job, folder, tmp_path):
    job(folder / "a.png")
    assert job(folder / "a.png", strength=0.5) == []
    before = (tmp_path / "out/a.png").read_bytes()
    with pytest.raises(JobError, match=f"the result of a photo in {folder}; .*--overwrite"):
        job(folder / "sub/a.png")
    assert (tmp_path / "out/a.png").read_bytes() == before


def test_what_may_be_a_photo_is_not_replaced_unasked(job, folder, tmp_path, make_photo):
    """The photo in the output folder is an original of the same name."""
    write_photo(tmp_path / "out/a.png", Photo(make_photo(5, 5)))
    before = (tmp_path / "out/a.png").read_bytes()
    with pytest.raises(JobError, match="not known as a result of this photo; .*--overwrite"):
        job(folder / "a.png")
    assert files_below(tmp_path / "out") == ["a.png"] and (tmp_path / "out/a.png").read_bytes() == before
    assert job(folder / "a.png", overwrite=True) == [] and (tmp_path / "out/a.png").read_bytes() != before


def test_jobs_side_by_side_lose_no_entry_of_the_record(tmp_path):
    """As many processes, each with photos of its own, as SLURM or xargs start them."""
    ones = [str(number) for number in range(8)]
    script = ("import sys; from pathlib import Path; from engine.enhancing.job_record import JobRecord\n"
              "out = Path(sys.argv[1])\n"
              "for n in range(5): JobRecord(out, {'n': n}).begin([out / f'{sys.argv[2]}{n}'], [])")
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), one], cwd=PROJECT) for one in ones]
    assert [process.wait(120) for process in running] == [0] * 8
    names = [f"{one}{n}" for one in ones for n in range(5)]
    assert sorted(json.loads((tmp_path / FILE).read_text())["results"]) == sorted(names)


def killed(pixels):
    raise SystemExit  # nothing after it runs, as with kill -9


@pytest.mark.parametrize("enhance", [interrupted_at_the_second(), killed], ids=["ctrl-c", "kill"])
def test_an_unfinished_overwrite_goes_on(job, tmp_path, enhance):
    """Whatever it has not reached is made anew by the next job, which need not say --overwrite."""
    job()
    with contextlib.suppress(SystemExit):
        job(enhance=enhance, overwrite=True, strength=0.5)
    assert job(strength=0.5) == [] and "strength 0.5 (now 1.0)" in job()[0]
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in ("a.png", "b.JPG", "sub/a.png")}
    job(strength=0.5)
    assert times == {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in times}  # finished


def test_an_unfinished_overwrite_of_another_folder_stays(job, tmp_path, make_photo):
    write_photo(tmp_path / "other/b.JPG", Photo(make_photo(4, 4)))
    job()
    job(enhance=interrupted_at_the_second(), overwrite=True)
    before = (tmp_path / "out/b.JPG").read_bytes()
    assert "input" in job(tmp_path / "other")[0] and (tmp_path / "out/b.JPG").read_bytes() == before


def test_an_interrupted_job_is_on_record(job, tmp_path):
    job(enhance=interrupted_at_the_second())
    assert len(files_below(tmp_path / "out")) == 2 and "strength 1.0 (now 0.5)" in job(strength=0.5)[0]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"jobs": [1], "results": {}}', b'{"jobs": [], "results": {"a.png": 0}}',
                                     b'{"jobs": [{}], "results": 3}', b"\xff"])
def test_a_damaged_record_is_none(job, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FILE).write_bytes(content)
    assert job() == [] and job(strength=0.5)


def test_a_record_that_cannot_be_written_stops_nothing(job, tmp_path):
    (tmp_path / "out" / FILE / "x").mkdir(parents=True)
    assert job() == job(strength=0.5) == []
    assert files_below(tmp_path / "out") == ["a.png", "b.JPG", "sub/a.png"]


def test_a_record_of_an_older_version_says_less(job, tmp_path):
    job()
    content = json.loads((tmp_path / "out" / FILE).read_text())
    del content["pending"], content["jobs"][0]["seed"]
    (tmp_path / "out" / FILE).write_text(json.dumps(content))
    assert job() == [] and "strength 1.0 (now 0.5)" in job(strength=0.5)[0]


# --- the contact sheet ---

@pytest.mark.parametrize("count", [1, 7, 20])
def test_contact_sheet_shows_every_picture(tmp_path, count):
    """Each picture has a colour of its own that is found on the sheet; an unreadable file leaves its cell empty."""
    pictures = []
    for i in range(count):
        colour = (255, 10 + 6 * i, 255 - 6 * i)
        write_photo(tmp_path / f"{i}.png", Photo(np.full((30, 40, 3), colour, np.uint8)))
        pictures.append((f"{i}.png", tmp_path / f"{i}.png"))
    (tmp_path / "bad.png").write_bytes(b"bad")
    sheet = contact_sheet([*pictures, ("写真/bad.png", tmp_path / "bad.png")], 1.0)
    colours = set(map(tuple, sheet.pixels[::3, ::3].reshape(-1, 3).tolist()))
    assert {(255, 10 + 6 * i, 255 - 6 * i) for i in range(count)} <= colours
    assert sheet.pixels.shape[0] * sheet.pixels.shape[1] < 61e6


def test_contact_sheet_of_many_photos_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.enhancing.contact_sheet.SHEET_PIXELS", 1e6)
    sheet = contact_sheet([(str(i), tmp_path / "none.png") for i in range(60)], 1.0, pairs=True)
    assert 0.5e6 < sheet.pixels.shape[0] * sheet.pixels.shape[1] < 2e6  # captions do not shrink
