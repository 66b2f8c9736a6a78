"""Files of people on the page: there while they are needed, gone when the page is left and after an hour."""
from __future__ import annotations

import os
import time

import pytest

from engine.page.job import Job
from engine.page.turns import Turns
from engine.page.visits import KEEP_SECONDS, Visits


@pytest.fixture
def visits(tmp_path) -> Visits:
    (tmp_path / "root").mkdir()
    return Visits(tmp_path / "root")


@pytest.fixture
def upload(visits, make_upload):
    """`upload(hash, name)` -> the photo where gradio puts it."""
    return lambda content, name="photo.png": make_upload(visits.root / content / name, 12, 12)


@pytest.fixture
def ask(visits, enhancer):
    """`ask(session, photo, ..)` -> the job, when it is done."""
    def begin(session, *photos) -> Job:
        job = Job(photos, enhancer, Turns(), visits.of(session).folder / f"{time.time_ns()}", 10)
        visits.begin(session, job, photos)
        job.wait(30)
        return job

    return begin


def files(visits) -> list[str]:
    return sorted(str(path.relative_to(visits.root)) for path in visits.root.rglob("*") if path.is_file())


def age(folder, seconds=KEEP_SECONDS + 1):
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - seconds,) * 2)


def test_leaving_deletes_uploads_and_results(visits, upload, ask):
    job = ask("me", upload("aa"))
    assert job.progress.results[0].file.is_relative_to(visits.root) and len(files(visits)) > 5
    visits.leave("me")
    assert list(visits.root.iterdir()) == [] and visits.job("me") is None
    visits.leave("me")  # a second time, or somebody who was never here


def test_a_photo_that_two_people_brought_stays_for_the_other(visits, upload, ask):
    photo = upload("aa")
    ask("me", photo)
    theirs = ask("you", photo)
    visits.leave("me")
    assert photo.exists() and theirs.progress.results[0].file.exists()
    assert visits.job("you") is theirs
    visits.leave("you")
    assert not files(visits)


def test_asking_again_deletes_what_is_shown_no_longer(visits, upload, ask):
    first, second = upload("aa"), upload("bb")
    before = ask("me", first)
    ask("me", second)
    assert not first.parent.exists() and second.exists() and not before.folder.exists()
    other_settings = ask("me", second)
    assert second.exists() and other_settings.progress.results[0].file.exists()


def test_only_files_below_the_folder_are_deleted(visits, ask, make_upload, tmp_path):
    elsewhere = make_upload(tmp_path / "elsewhere/photo.png", 12, 12)
    ask("me", elsewhere)
    visits.leave("me")
    assert elsewhere.exists()


def test_after_an_hour(visits, upload, ask, monkeypatch):
    stray = upload("cc")  # uploaded, and never shown
    page = visits.root / "samples"
    page.mkdir()
    visits.keep([page])
    job = ask("me", upload("aa"))
    visits.sweep()
    assert stray.exists() and job.progress.results[0].file.exists()
    for folder in visits.root.iterdir():
        age(folder)
    visits.of("me").asked -= KEEP_SECONDS + 1
    new = upload("dd")
    visits.sweep()
    assert list(visits.root.iterdir()) != [] and set(visits.root.iterdir()) == {page, new.parent}
    assert visits.job("me") is None


def test_what_is_in_use_is_not_swept(visits, upload, ask):
    """A page that is open for long: the upload is old, but was just asked for again."""
    photo = upload("aa")
    age(photo.parent)
    job = ask("me", photo)
    age(job.folder.parent)
    visits.sweep()
    assert photo.exists() and job.progress.results[0].file.exists()


def test_closing_the_page_lets_everybody_leave(visits, upload, ask):
    ask("me", upload("aa"))
    ask("you", upload("bb"))
    visits.close()
    assert list(visits.root.iterdir()) == []


def test_folders_of_results_cannot_be_guessed(visits):
    names = {visits.of(session).folder.name for session in "abc"}
    assert len(names) == 3 and all(len(name) > 32 for name in names)
