"""How soon the page of app.py answers: seconds from a photo's drop to its preview, and to its full picture, in Chromium.

    python -m benchmarks.page [--photo FILE] [--megapixels 12] [--rounds 3]

The photo is made as large as a camera's by enlarging (the default is a sample), written as JPEG, and dropped on the page
anew each round. Needs Chromium and its driver, and selenium (requirements-dev.txt).
"""
from __future__ import annotations

import argparse
import io
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.files.images import read_photo, to_8_bit
from exp_config import PROJECT_ROOT

SECONDS = 300  # to wait at most for anything, on a machine that is busy
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


@contextmanager
def opened_page(width: int, height: int) -> Iterator[Any]:
    """app.py, started for this, in a window of so many pixels: selenium's driver of the browser."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    command = [sys.executable, "app.py", "--port", "0"]
    with (tempfile.TemporaryDirectory() as data,
          subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as page):
        try:
            address = re.search(r"http://\S+", page.stdout.readline())  # type: ignore[union-attr]
            if address is None:
                raise SystemExit("app.py did not start; its message stands above")
            options = webdriver.ChromeOptions()
            options.binary_location = shutil.which("chromium") or ""
            for flag in (*FLAGS, f"--user-data-dir={data}", f"--window-size={width},{height}"):
                options.add_argument(flag)
            driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
            try:
                driver.get(address[0])
                until(lambda: driver.find_elements("css selector", "input[type=file]"))
                yield driver
            finally:
                driver.quit()
        finally:
            page.send_signal(signal.SIGINT)


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `condition` gives once it is true; elements may be replaced while it looks. Raises SystemExit after
    so many seconds."""
    from selenium.common.exceptions import StaleElementReferenceException

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except StaleElementReferenceException:
            pass
        time.sleep(0.02)
    raise SystemExit(f"not within {seconds} s")


def loaded(driver: Any, words: str) -> bool:
    """Whether before and after are there to be seen, under a caption with these words."""
    caption = " ".join(element.text for element in driver.find_elements("css selector", ".hvr-compare figcaption"))
    return words in caption and driver.execute_script(
        "return [...document.querySelectorAll('.hvr-stack img')].every((image) => image.complete && image.naturalWidth)")


def answered(photo: Path) -> tuple[float, float]:
    """Seconds from the drop to the preview, and to the full picture."""
    with opened_page(1200, 1000) as driver:
        started = time.monotonic()
        driver.find_elements("css selector", "input[type=file]")[0].send_keys(str(photo))
        seconds = []
        for words in (": a preview", " pixels"):
            until(lambda words=words: loaded(driver, words))
            seconds.append(time.monotonic() - started)
    return seconds[0], seconds[1]


def enlarged(photo: Path, megapixels: float) -> bytes:
    """A JPEG file of so many megapixels."""
    picture = Image.fromarray(to_8_bit(read_photo(photo).pixels))
    scale = float(np.sqrt(megapixels * 1e6 / (picture.width * picture.height)))
    stream = io.BytesIO()
    picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC).save(
        stream, "JPEG", quality=92)
    return stream.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description="How soon the page answers.")
    parser.add_argument("--photo", type=Path, default=PROJECT_ROOT / "img/samples/coffee.jpg", metavar="FILE",
                        help="a dark one")
    parser.add_argument("--megapixels", type=float, default=12.0, help="of the photo that is dropped (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="with a page of their own each; medians are printed")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "photo.jpg")
        photo.write_bytes(enlarged(options.photo, options.megapixels))
        found = [answered(photo) for _ in range(options.rounds)]
    preview, full = (statistics.median(values) for values in zip(*found, strict=True))
    print(f"{options.megapixels:g} megapixels: preview after {preview:.2f} s, full picture after {full:.2f} s (medians of "
          f"{options.rounds})")


if __name__ == "__main__":
    main()
