"""What one person asked for: a photo, first small and then whole, or several photos and a ZIP file of their results."""
from __future__ import annotations

import logging
import shutil
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.files.images import Photo, read_photo, write_photo
from engine.enhancing.enhancer import Enhancer
from engine.enhancing.folder_job import why_it_failed
from engine.enhancing.job_plan import JobError, plan_job
from engine.page.looks import STRIP_PIXELS, VIEW_PIXELS, StepPictures, reduced, write_look
from engine.page.turns import NotWantedError, Turns
from models.hvr import step_sequence
from models.latents import State

logger = logging.getLogger(__name__)

PREVIEW_MEGAPIXELS = 0.06  # that the network sees first: within 3 s of the drop on two cores
SETTLE_SECONDS = 0.15  # before work begins: a slider that is dragged asks many times


@dataclass(frozen=True)
class Pair:
    """Before and after, as files to look at; `width` and `height` are those of the picture that was enhanced."""

    name: str
    before: Path
    after: Path
    width: int
    height: int
    preview: bool


@dataclass(frozen=True)
class Result:
    """A file to take home, the name that infer_image.py would give it, and a small picture of it."""

    file: Path
    name: str
    look: Path
    width: int
    height: int
    size: int  # bytes of the file


@dataclass(frozen=True)
class Progress:
    """What is there to be shown of a job. `share`: of the work that is done, 0 to 1; None while that is unknown."""

    text: str = ""
    share: float | None = None
    done: bool = False
    pair: Pair | None = None
    steps: tuple[Path, ...] = ()
    results: tuple[Result, ...] = ()
    zip_file: Path | None = None
    failed: tuple[str, ...] = ()  # "NAME: reason"


class Job:
    """Work in a thread of its own, which waits for its turn on the device; `progress` is replaced as it goes on.

    photos: of one person, in the order in which they are made. folder: for the results, made here, and deleted by `end`.
    """

    def __init__(self, photos: Sequence[Path], enhancer: Enhancer, turns: Turns, folder: Path, max_megapixels: float) -> None:
        self.photos, self.enhancer, self.turns, self.folder = tuple(photos), enhancer, turns, folder
        self.max_megapixels = max_megapixels
        self.progress = Progress("Reading ...")
        self._stop, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="page-job", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        """Stop before the next step; what is made until then stays."""
        self._stop.set()

    def end(self) -> None:
        """Cancel, and delete all results, those too that are just being written."""
        self._ended.set()
        self._stop.set()
        with self._lock:
            if self.progress.done or not self._thread.is_alive():
                shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self, seconds: float | None = None) -> None:
        """Until it is done."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            if not self._stop.wait(SETTLE_SECONDS):
                self._make_all()
        except NotWantedError:
            pass
        except Exception as error:  # a fault of the program: the page says so and lives on
            logger.exception("a job of the page failed")
            self._show(failed=(*self.progress.failed, f"the page failed: {why_it_failed(error)}"))
        with self._lock:
            self._show(done=True, share=None, text=self._closing_words())
            if self._ended.is_set():
                shutil.rmtree(self.folder, ignore_errors=True)

    def _make_all(self) -> None:
        for number, path in enumerate(self.photos):
            try:
                self._make(number, path)
            except NotWantedError:
                break
            except Exception as error:  # one photo's trouble, of whatever kind, is not the others'
                reason = why_it_failed(error) if not isinstance(error, JobError) else str(error)
                self._show(failed=(*self.progress.failed, f"{path.name}: {reason.replace(str(path), path.name)}"))
        if len(self.progress.results) > 1:
            self._show(text="Packing the ZIP file ...", share=None)
            self._show(zip_file=self._pack())

    # --- one photo ---

    def _make(self, number: int, path: Path) -> None:
        self._check()
        self._show(text=f"Reading {path.name} ...", share=number / len(self.photos))
        task = plan_job(path, self.folder / f"{number}").tasks[0]
        photo = read_photo(path, self.max_megapixels)
        if len(self.photos) == 1:
            self._preview(path.name, photo)
        bright = replace(photo, pixels=self._enhance(number, photo.pixels))
        self._show(text=f"Writing {path.name} ...")
        file = task.output.with_stem(f"{task.output.stem}_bright")
        write_photo(file, bright)
        height, width = photo.pixels.shape[:2]
        pair = Pair(path.name, self._look(photo, photo.pixels, f"{number}-before"),
                    self._look(photo, bright.pixels, f"{number}-after"), width, height, preview=False)
        look = self._look(photo, bright.pixels, f"{number}-small", STRIP_PIXELS)
        result = Result(file, task.output.name, look, width, height, file.stat().st_size)
        self._show(pair=pair, results=(*self.progress.results, result))

    def _preview(self, name: str, photo: Photo) -> None:
        """Before, after and the recursion's steps, of the photo as large as it is looked at, by a small working size."""
        small = reduced(photo.pixels, VIEW_PIXELS)
        height, width = small.shape[:2]
        settings = self.enhancer.settings
        size = min(settings.max_working_megapixels or PREVIEW_MEGAPIXELS, PREVIEW_MEGAPIXELS)
        quick = replace(self.enhancer, settings=replace(settings, max_working_megapixels=size))
        steps = StepPictures(quick.model, quick.settings, height, width)
        with self.turns.turn(self._check, preview=True):
            bright = quick(small, on_step=steps)
        pair = Pair(name, self._look(photo, small, "preview-before"), self._look(photo, bright, "preview-after"), width, height,
                    preview=True)
        pictures = [reduced(small, STRIP_PIXELS), *steps.found]
        self._show(pair=pair, steps=tuple(self._look(photo, picture, f"step-{i}") for i, picture in enumerate(pictures)))

    def _enhance(self, number: int, pixels: np.ndarray) -> np.ndarray:
        """The whole photo, when it is its turn."""
        steps, taken = len(step_sequence(**self.enhancer.settings.steps)), 0
        which = f"photo {number + 1} of {len(self.photos)}" if len(self.photos) > 1 else "the full picture"

        def on_step(_kind: str, _state: State) -> None:
            nonlocal taken
            self._check()
            taken = min(taken + 1, steps)
            self._show(text=f"Making {which}: step {taken} of {steps}", share=(number + taken / steps) / len(self.photos))
            self.turns.let_previews_pass(self._check)

        def waiting(before: int) -> None:
            self._show(text=f"Waiting for the device: {before} before {which}")

        with self.turns.turn(self._check, waiting=waiting):
            self._check()
            self._show(text=f"Making {which} ...", share=number / len(self.photos))
            return self.enhancer(pixels, on_step=on_step)

    # --- files ---

    def _look(self, photo: Photo, pixels: np.ndarray, name: str, *most: float) -> Path:
        return write_look(self.folder / "looks" / f"{name}.jpg", photo, pixels, *most)

    def _pack(self) -> Path:
        """All results in one file, as they are: pictures do not get smaller."""
        path, names = self.folder / "enhanced.zip", set()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as pack:
            for result in self.progress.results:
                name, number = result.name, 2
                while name in names:  # photos of several folders may be called the same
                    name, number = f"{Path(result.name).stem} ({number}){result.file.suffix}", number + 1
                names.add(name)
                pack.write(result.file, name)
        return path

    # --- what is shown ---

    def _check(self) -> None:
        if self._stop.is_set():
            raise NotWantedError

    def _show(self, **changes: object) -> None:
        self.progress = replace(self.progress, **changes)  # type: ignore[arg-type]

    def _closing_words(self) -> str:
        made, asked = len(self.progress.results), len(self.photos)
        if self._stop.is_set() and made + len(self.progress.failed) < asked:
            return f"Cancelled: {made} of {asked} photos are made." if asked > 1 else "Cancelled."
        if asked == 1:
            return "Done." if made else ""
        return f"{made} of {asked} photos are made."
