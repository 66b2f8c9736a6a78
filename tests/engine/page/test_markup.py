"""HTML of the page: what comes from people is text in it, never more."""
from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.page import markup
from engine.page.job import Pair, Progress, Result

NAME = "<img src=x onerror=alert(1)>\" onload='x'&.jpg"


class Reader(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)
        assert not self.open, "not closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def progress() -> Progress:
    file = Path("/root of/ü#?.jpg")
    return Progress(text=f"Reading {NAME}", share=0.25, pair=Pair(NAME, file, file, 300, 200, preview=True), steps=(file, file),
                    results=(Result(Path(f"/x/{NAME}"), NAME, file, 300, 200, 1234567),), failed=(f"{NAME}: no",))


def parts(progress: Progress) -> list[str]:
    return [markup.status(progress), markup.compare(progress.pair), markup.downloads(progress), markup.steps(progress.steps)]


def test_names_are_text(progress):
    allowed = {"class", "style", "src", "alt", "aria-hidden", "aria-label", "type", "min", "max", "value", "href", "download",
               "tabindex", "role"}
    for html in parts(progress) + parts(replace(progress, results=progress.results * 2, zip_file=Path("/x/all.zip"))):
        read = Reader(html)
        assert not [attributes for _, attributes in read.tags if not attributes.keys() <= allowed]
        assert not [attributes for _, attributes in read.tags if attributes.get("src") == "x"]
    assert NAME in Reader(markup.status(progress)).text and NAME in Reader(markup.compare(progress.pair)).text


def test_addresses_are_whole(progress):
    sources = [attributes["src"] for tag, attributes in Reader(markup.compare(progress.pair)).tags if tag == "img"]
    assert set(sources) == {"gradio_api/file=/root%20of/%C3%BC%23%3F.jpg"}


def test_status(progress):
    (bar, *_), text = Reader(markup.status(progress)).tags, Reader(markup.status(progress)).text
    assert bar == ("progress", {"aria-label": "Progress", "max": "1", "value": "0.250"}) and "failed: " in text
    assert "value" not in Reader(markup.status(replace(progress, share=None))).tags[0][1]
    assert not [tag for tag, _ in Reader(markup.status(replace(progress, done=True))).tags if tag == "progress"]


def test_every_picture_and_slider_has_words(progress):
    for html in parts(progress):
        for tag, attributes in Reader(html).tags:
            assert tag != "img" or attributes.get("alt")
            assert tag != "input" or attributes.get("aria-label")


def test_one_result_is_a_button_several_are_a_list(progress):
    assert "1.2 MB" in Reader(markup.downloads(progress)).text and "300x200" in Reader(markup.downloads(progress)).text
    several = Reader(markup.downloads(replace(progress, results=progress.results * 3, zip_file=Path("/x/all.zip"))))
    links = [attributes["download"] for tag, attributes in several.tags if tag == "a"]
    assert links[0] == "all.zip" and len(links) == 4 and "all 3" in several.text


def test_nothing_yet():
    assert markup.downloads(Progress()) == "" and markup.steps(()) == "" and "Drop a dark photo" in markup.compare(None)
