"""What stands on the page, and what happens when it is touched. Needs gradio (requirements-app.txt)."""
from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from data.files.images import is_photo, read_photo
from engine.enhancing.enhancer import Enhancer
from engine.enhancing.settings import Settings
from engine.page import markup
from engine.page.job import Job, Progress
from engine.page.looks import STRIP_PIXELS, write_look
from engine.page.turns import Turns
from engine.page.visits import Visits
from exp_config import PROJECT_ROOT

SAMPLES = PROJECT_ROOT / "img/samples"
MOST_PHOTOS = 100   # of one person at once
MOST_JOBS = 20      # of all people: each holds a photo in memory
LOOK_SECONDS = 0.1  # between two looks at a job
# Field of Settings, label, what it says below, from, to, step.
SLIDERS = (
    ("strength", "Strength", "0: the photo as it was, 1: the network's picture", 0, 1, 0.05),
    ("brightness", "Brightness", "around the network's own choice; 1 is twice the light", -2, 2, 0.1),
    ("saturation", "Saturation", "0: gray, 1: the network's colours", 0, 2, 0.05),
    ("white_balance", "White balance", "how much of the colour cast of what came out of the dark is taken off", 0, 1, 0.05),
    ("detail", "Detail", "how much fine structure comes from the photo itself", 0, 1, 0.05),
    ("N", "Supervision steps", "rounds of the recursion: more change, more time", 1, 8, 1),
    ("max_working_megapixels", "Working size", "megapixels that the network sees, the result is as large as the photo; 0: all",
     0, 24, 0.5),
)


@dataclass
class Workshop:
    """What all people on the page share."""

    enhancer: Enhancer
    visits: Visits
    max_megapixels: float
    turns: Turns = field(default_factory=Turns)
    _numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    def ask(self, session: str, photos: list[Path], look: dict[str, Any]) -> int:
        """Begin a job in place of the session's last one, with these settings; none without photos. -> its number"""
        number = next(self._numbers)
        if not photos:
            self.visits.leave(session)
            return number
        enhancer = replace(self.enhancer, settings=replace(self.enhancer.settings, **look))
        folder = self.visits.of(session).folder / f"{number}"
        self.visits.begin(session, Job(photos, enhancer, self.turns, folder, self.max_megapixels), photos)
        return number


def build_page(workshop: Workshop) -> gr.Blocks:
    """The page; nothing listens yet."""
    with gr.Blocks(title="HVR-SSLE: light for dark photos", analytics_enabled=False) as page:
        gr.HTML('<h1>Light for dark photos</h1><p>HVR-SSLE on this machine. Photos and results are deleted when you leave the '
                "page, and after an hour.</p>", elem_classes="hvr-title")
        number = gr.State(0)
        with gr.Row(elem_id="hvr-main"):
            with gr.Column(scale=2, min_width=300):
                photos = gr.File(label="Dark photos: one, or several for a ZIP file", file_count="multiple", height=150,
                                 elem_id="hvr-photos")
                samples = _sample_buttons(workshop.visits.root)
                sliders = _sliders(workshop.enhancer.settings)
                with gr.Row():
                    again = gr.Button("Enhance", variant="primary", min_width=100)
                    stop = gr.Button("Cancel", variant="stop", interactive=False, min_width=100)
            with gr.Column(scale=3, min_width=300):
                status = gr.HTML(js_on_load="element.setAttribute('aria-live', 'polite');", elem_id="hvr-status",
                                 elem_classes="hvr-shown")
                compare = gr.HTML(markup.EMPTY, js_on_load=None, elem_classes="hvr-shown")
                files = gr.HTML(js_on_load=None, elem_classes="hvr-shown")
                steps = gr.HTML(js_on_load=None)
        _wire(page, workshop, number, photos, samples, sliders, again, stop, [status, compare, files, steps, stop])
    return page


def theme() -> gr.themes.Default:
    """Colours that can be read, light and dark, and the fonts of the reader's machine: none are fetched."""
    subdued = {"body_text_color_subdued": "*neutral_600", "body_text_color_subdued_dark": "*neutral_300",
               "block_info_text_color": "*neutral_600", "block_info_text_color_dark": "*neutral_300"}
    return gr.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
            **subdued, button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800",
            button_primary_background_fill_dark="*primary_700", button_primary_background_fill_hover_dark="*primary_600")


def _sliders(settings: Settings) -> list[gr.Slider]:
    """They begin where the settings are, which may be beyond what one moves them to."""
    values = [getattr(settings, name) for name, *_ in SLIDERS]
    return [gr.Slider(min(low, value), max(high, value), value, step=step, label=label, info=info)
            for value, (_, label, info, low, high, step) in zip(values, SLIDERS, strict=True)]


def _sample_buttons(root: Path) -> dict[Path, gr.Button]:
    """Sample -> its button, with a small picture."""
    buttons = {}
    with gr.Row(elem_id="hvr-samples"):
        for sample in sorted(path for path in SAMPLES.iterdir() if is_photo(path)):
            photo = read_photo(sample)
            icon = write_look(root / "samples" / f"{sample.stem}.jpg", photo, photo.pixels, STRIP_PIXELS)
            buttons[sample] = gr.Button(sample.stem, icon=icon, size="sm")
    return buttons


def _wire(page: gr.Blocks, workshop: Workshop, number: gr.State, photos: gr.File, samples: dict[Path, gr.Button],
          sliders: list[gr.Slider], again: gr.Button, stop: gr.Button, shown: list[gr.Component]) -> None:
    """Events. They are the page's own: no part of an API, no limit on how many run, since they only ask and look."""
    own = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}

    def begin(request: gr.Request, files: list[str] | None, *values: float) -> int:
        return workshop.ask(request.session_hash, _paths(workshop, files), _look(values))

    def begin_again(request: gr.Request, files: list[str] | None, *values: float) -> Any:
        if len(files or ()) != 1:  # a slider that is touched does not throw many results away
            return gr.skip()
        return begin(request, files, *values)

    async def follow(request: gr.Request) -> AsyncIterator[list[Any]]:
        async for update in follow_job(workshop, request.session_hash):
            yield update

    def cancel(request: gr.Request) -> None:
        if job := workshop.visits.job(request.session_hash):
            job.cancel()

    def leave(request: gr.Request) -> None:
        workshop.visits.leave(request.session_hash)

    gr.on([photos.change, again.click], begin, [photos, *sliders], number, trigger_mode="always_last", **own)
    gr.on([slider.change for slider in sliders], begin_again, [photos, *sliders], number, trigger_mode="always_last", **own)
    number.change(follow, None, shown, trigger_mode="multiple", **own)
    stop.click(cancel, None, None, **own)
    page.unload(leave)
    for sample, button in samples.items():
        button.click(_taker(workshop, sample), None, photos, **own)


def _taker(workshop: Workshop, sample: Path) -> Callable[[gr.Request], list[str]]:
    """What a click on a sample does: a copy of it takes the place of the photos that were dropped."""
    def take(request: gr.Request) -> list[str]:
        copy = workshop.visits.of(request.session_hash).folder.with_suffix(".sample") / sample.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        return [str(shutil.copyfile(sample, copy))]

    return take


def _paths(workshop: Workshop, files: list[str] | None) -> list[Path]:
    paths = [Path(file) for file in files or ()]
    if len(paths) > MOST_PHOTOS:
        raise gr.Error(f"{len(paths)} photos at once; at most {MOST_PHOTOS}. infer_image.py takes whole folders.")
    if paths and workshop.visits.running() >= MOST_JOBS:
        raise gr.Error(f"{MOST_JOBS} people are waiting already; try again in a few minutes.")
    if missing := [path.name for path in paths if not path.is_file()]:
        raise gr.Error(f"{missing[0]} was deleted after an hour; drop it again.")
    return paths


def _look(values: tuple[float, ...]) -> dict[str, Any]:
    """The sliders' values by the field that they set."""
    return {name: int(value) if name == "N" else float(value) for (name, *_), value in zip(SLIDERS, values, strict=True)}


async def follow_job(workshop: Workshop, session: str) -> AsyncIterator[list[Any]]:
    """What changes on the page, until the session's job is done or another one takes its place."""
    job = workshop.visits.job(session)
    before: list[Any] = [None] * 5
    while workshop.visits.job(session) is job:
        seen = job.progress if job is not None else Progress(done=True)
        now = parts(seen)
        yield [gr.skip() if old == new else new if isinstance(new, str) else gr.update(interactive=new)
               for old, new in zip(before, now, strict=True)]
        before = now
        if job is None or seen.done:
            break
        while job.progress is seen:
            await asyncio.sleep(LOOK_SECONDS)
    yield [gr.skip()] * 5  # what is sent last is sent twice, and the second time may be after the next job's first


def parts(progress: Progress) -> list[Any]:
    """HTML of status, comparison, files and steps, and whether there is something to cancel."""
    return [markup.status(progress), markup.compare(progress.pair), markup.downloads(progress), markup.steps(progress.steps),
            not progress.done]
