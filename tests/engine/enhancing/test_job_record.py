"""The record of what made the results: what a later job tells, skips and makes anew."""
from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from data.files.images import Photo, write_photo
from engine.enhancing.folder_job import run_job
from engine.enhancing.job_plan import JobError, plan_job
from engine.enhancing.job_record import FILE, JobRecord, job_settings
from tests.engine.enhancing.jobs import files_below, interrupted_at_the_second, invert

PROJECT = Path(__file__).resolve().parents[3]


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
