"""The plan of a job over files: what goes where, and what is refused before the work."""
from __future__ import annotations

import os

import pytest

from data.files.images import Photo, write_photo
from engine.enhancing.folder_job import run_job
from engine.enhancing.job_plan import JobError, describe_ignored, plan_job
from tests.engine.enhancing.jobs import invert


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
