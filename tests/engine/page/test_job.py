"""What is made for one person: preview, full picture, ZIP; and what becomes of it on cancel, on errors, in the end."""
from __future__ import annotations

import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import infer_image
from data.files.images import read_photo
from engine.enhancing.enhancer import Enhancer
from engine.page.job import PREVIEW_MEGAPIXELS, Job
from engine.page.looks import StepPictures, reduced
from engine.page.turns import Turns


@pytest.fixture
def make_job(enhancer, tmp_path):
    """`make_job(photos, ..)` -> a Job that has not begun."""
    def make(*photos, enhancer=enhancer, turns=None, most=10.0) -> Job:
        return Job(photos, enhancer, turns or Turns(), tmp_path / "job", most)

    return make


def finished(job: Job):
    """Its progress when it is done."""
    job.start()
    job.wait(30)
    assert job.progress.done
    return job.progress


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.tif"])
def test_the_result_is_the_file_that_infer_image_writes(make_job, make_upload, weights, tmp_path, name):
    photo = make_upload(tmp_path / name)
    progress = finished(make_job(photo))
    assert infer_image.main([*weights, "--input_path", str(photo), "--output_dir", str(tmp_path / "out")]) == 0
    (result,) = progress.results
    assert result.file.read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert result.file.name == name.replace(".", "_bright.") and result.size == result.file.stat().st_size
    assert (result.width, result.height) == (56, 40) and progress.text == "Done." and not progress.failed


def test_before_and_after_can_be_looked_at(make_job, make_upload, tmp_path):
    photo = make_upload(tmp_path / "photo.png")
    progress = finished(make_job(photo))
    before, after = (read_photo(path).pixels.astype(int) for path in (progress.pair.before, progress.pair.after))
    assert before.shape == after.shape == (40, 56, 3) and not progress.pair.preview
    assert np.abs(before - read_photo(photo).pixels).mean() < 2  # a JPEG file of it
    assert np.abs(after - read_photo(progress.results[0].file).pixels).mean() < 4
    assert read_photo(progress.pair.after).exif is None


def test_the_preview_comes_first_and_is_small(make_job, make_upload, enhancer, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("engine.page.job.VIEW_PIXELS", 600)

    class Watched(Enhancer):
        def __call__(self, pixels, on_step=None):
            seen.append((pixels.shape, self.settings.max_working_megapixels))
            return super().__call__(pixels, on_step)

    photo = make_upload(tmp_path / "photo.jpg", 40, 60)
    finished(make_job(photo, enhancer=Watched(enhancer.model, enhancer.config, enhancer.settings)))
    assert seen == [((20, 30, 3), PREVIEW_MEGAPIXELS), ((40, 60, 3), 0)]


def test_the_strip_shows_the_input_and_every_h_step(make_job, make_upload, enhancer, tmp_path):
    photo = make_upload(tmp_path / "photo.png")
    progress = finished(make_job(photo))
    settings = enhancer.settings
    assert len(progress.steps) == 1 + settings.C * settings.N
    pictures = [read_photo(path).pixels.astype(int) for path in progress.steps]
    assert np.abs(pictures[0] - read_photo(photo).pixels).mean() < 2
    assert np.abs(pictures[-1] - read_photo(progress.results[0].file).pixels).mean() < 4


def test_the_last_step_is_the_result(enhancer, make_photo):
    dark = make_photo(33, 47)
    steps = StepPictures(enhancer.model, enhancer.settings, 33, 47)
    result = enhancer(dark, on_step=steps)
    assert len(steps.found) == 4
    np.testing.assert_allclose(steps.found[-1].astype(int), result.astype(int), atol=1)
    smaller = replace(enhancer.settings, max_working_megapixels=0.0005)
    steps = StepPictures(enhancer.model, smaller, 33, 47)
    replace(enhancer, settings=smaller)(dark, on_step=steps)
    assert {picture.shape for picture in steps.found} == {(18, 26, 3)}


def test_watching_changes_nothing(enhancer, make_photo):
    dark = make_photo(33, 47)
    np.testing.assert_array_equal(enhancer(dark, on_step=lambda kind, state: enhancer(make_photo(16, 16))), enhancer(dark))


def test_several_photos_are_packed_under_their_own_names(make_job, make_upload, weights, tmp_path):
    photos = [make_upload(tmp_path / folder / "a.jpg", seed=number) for number, folder in enumerate(("one", "two"))]
    broken = tmp_path / "broken.png"
    broken.write_bytes(photos[0].read_bytes()[:200])
    progress = finished(make_job(photos[0], broken, photos[1]))
    assert progress.text == "2 of 3 photos are made." and not progress.steps
    for number, photo in enumerate(photos):
        infer_image.main([*weights, "--input_path", str(photo), "--output_dir", str(tmp_path / f"out{number}")])
    with zipfile.ZipFile(progress.zip_file) as pack:
        assert pack.namelist() == ["a.jpg", "a (2).jpg"] and pack.testzip() is None
        assert [pack.read(name) for name in pack.namelist()] == [(tmp_path / f"out{n}/a.jpg").read_bytes() for n in (0, 1)]


@pytest.mark.parametrize(("name", "content"), [
    ("broken.jpg", b"\xff\xd8\xff\xe0 no more"), ("empty.png", b""), ("text.tif", b"this is a letter")])
def test_a_broken_file_is_named_in_the_words_of_infer_image(make_job, weights, tmp_path, caplog, name, content):
    (tmp_path / name).write_bytes(content)
    progress = finished(make_job(tmp_path / name))
    assert infer_image.main([*weights, "--input_path", str(tmp_path / name), "--output_dir", str(tmp_path / "out")]) == 1
    (said,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("failed:")]
    assert f"failed: {progress.failed[0]}" == said.replace(str(tmp_path / name), name)
    assert not progress.results and progress.pair is None


def test_a_file_that_is_no_photo_by_its_name(make_job, make_upload, tmp_path):
    letter = make_upload(tmp_path / "photo.png").rename(tmp_path / "letter.txt")
    (failed,) = finished(make_job(letter)).failed
    assert failed.startswith("letter.txt: letter.txt is no photo by its name") and str(tmp_path) not in failed


def test_a_photo_of_too_many_pixels(make_job, make_upload, tmp_path):
    (failed,) = finished(make_job(make_upload(tmp_path / "photo.png"), most=0.001)).failed
    assert "56x40" in failed and "--max_megapixels" in failed


def test_a_fault_of_the_program_is_shown_and_ends_the_job(make_job, make_upload, enhancer, tmp_path):
    class Faulty(Enhancer):
        def __call__(self, pixels, on_step=None):
            raise KeyError("nothing of that name")

    job = make_job(make_upload(tmp_path / "photo.png"), enhancer=Faulty(enhancer.model, enhancer.config, enhancer.settings))
    assert finished(job).failed == ("photo.png: KeyError: 'nothing of that name'",)


@pytest.fixture
def slow(enhancer) -> Enhancer:
    """An enhancer that stops in the first step of every full picture, and sets `within`, until `go_on` is set."""
    class Slow(Enhancer):
        within, go_on = threading.Event(), threading.Event()

        def __call__(self, pixels, on_step=None):
            def stop(kind, state):
                if not isinstance(on_step, StepPictures):
                    self.within.set()
                    assert self.go_on.wait(30)
                on_step(kind, state)

            return super().__call__(pixels, stop)

    return Slow(enhancer.model, enhancer.config, enhancer.settings)


def test_cancel_ends_it_at_the_next_step_and_keeps_what_is_made(make_job, make_upload, slow, tmp_path):
    job = make_job(make_upload(tmp_path / "photo.png"), enhancer=slow)
    job.start()
    assert slow.within.wait(30)
    job.cancel()
    slow.go_on.set()
    job.wait(30)
    assert job.progress.done and job.progress.text == "Cancelled." and not job.progress.results
    assert job.progress.pair.preview and job.progress.pair.after.exists()


def test_a_cancelled_batch_packs_what_is_made(make_job, make_upload, tmp_path):
    job = make_job(*(make_upload(tmp_path / f"{name}.png") for name in "abc"))
    shown = job._show

    def cancel_after_two(**changes):
        shown(**changes)
        if len(job.progress.results) == 2:
            job.cancel()

    job._show = cancel_after_two
    progress = finished(job)
    assert progress.text == "Cancelled: 2 of 3 photos are made."
    assert zipfile.ZipFile(progress.zip_file).namelist() == ["a.png", "b.png"]


def test_the_end_deletes_everything_even_what_is_being_made(make_job, make_upload, slow, tmp_path):
    job = make_job(make_upload(tmp_path / "photo.png"))
    assert finished(job).results[0].file.exists()
    job.end()
    assert not job.folder.exists()
    job = make_job(tmp_path / "photo.png", enhancer=slow)
    job.start()
    assert slow.within.wait(30) and job.folder.exists()
    job.end()
    slow.go_on.set()
    job.wait(30)
    assert not job.folder.exists()


def test_a_preview_of_another_person_passes_and_changes_nothing(make_job, make_upload, enhancer, slow, tmp_path):
    turns = Turns()
    photo = make_upload(tmp_path / "photo.png", 24, 32)
    first = make_job(photo, enhancer=slow, turns=turns)
    first.start()
    assert slow.within.wait(30)
    second = Job((make_upload(tmp_path / "other.png", seed=1),), enhancer, turns, tmp_path / "second", 10)
    second.start()
    while not turns._previews:
        assert second.progress.pair is None and not second.progress.done
    slow.go_on.set()
    first.wait(30)
    second.wait(30)
    alone = Job((photo,), enhancer, Turns(), tmp_path / "alone", 10)
    assert first.progress.results[0].file.read_bytes() == finished(alone).results[0].file.read_bytes()
    assert second.progress.text == "Done."


def test_settings_are_the_sliders(make_job, make_upload, enhancer, weights, tmp_path):
    photo = make_upload(tmp_path / "photo.png")
    others = replace(enhancer.settings, strength=0.5, N=3, detail=0.5, brightness=-0.3, saturation=1.4, white_balance=0.7,
                     max_working_megapixels=0.001)
    progress = finished(make_job(photo, enhancer=replace(enhancer, settings=others)))
    infer_image.main([*weights, "--strength", "0.5", "--hvr_n_supervision", "3", "--detail", "0.5", "--brightness", "-0.3",
                      "--saturation", "1.4", "--white_balance", "0.7", "--max_working_megapixels", "0.001",
                      "--input_path", str(photo), "--output_dir", str(tmp_path / "out")])
    assert progress.results[0].file.read_bytes() == (tmp_path / "out/photo.png").read_bytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_reduced_keeps_shape_and_mean(make_photo, dtype):
    pixels = make_photo(120, 240).astype(dtype) * (257 if dtype == np.uint16 else 1)
    small = reduced(pixels, 1800)
    assert small.shape == (30, 60, 3) and small.dtype == np.uint8
    assert abs(small.mean() - make_photo(120, 240).mean()) < 0.5
    assert reduced(small, 1800) is small
