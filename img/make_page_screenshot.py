"""The README's picture of the page: app.py with a sample in it, photographed by Chromium.

    python -m img.make_page_screenshot
"""
from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from benchmarks.page import opened_page, until
from exp_config import PROJECT_ROOT

OUTPUT = PROJECT_ROOT / "img/page.jpg"
SAMPLE = "coffee"
WINDOW = (1240, 1240)  # width and height in pixels


def photograph() -> Image.Image:
    """The page with the sample's full picture."""
    with opened_page(*WINDOW) as driver:
        def named() -> list:
            return [button for button in driver.find_elements("css selector", "#hvr-samples button") if button.text == SAMPLE]

        until(named)[0].click()
        until(lambda: driver.find_elements("css selector", ".hvr-download"))
        until(lambda: driver.execute_script("return [...document.images].every((one) => one.complete && one.naturalWidth)"))
        return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


def main() -> None:
    photograph().save(OUTPUT, quality=88, optimize=True)
    print(f"written: {Path(OUTPUT).relative_to(PROJECT_ROOT)}")


if __name__ == "__main__":
    main()
