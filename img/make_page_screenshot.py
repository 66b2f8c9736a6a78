"""The README's picture of the page: app.py with a sample in it, photographed by Chromium.

    python -m img.make_page_screenshot
"""
from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from exp_config import PROJECT_ROOT

OUTPUT = PROJECT_ROOT / "img/page.jpg"
SAMPLE = "coffee"
WINDOW = (1240, 1240)  # width and height in pixels
SECONDS = 300          # for the full picture, on a machine that is busy


def photograph(address: str, browser_data: str) -> Image.Image:
    """The page at `address` with the sample's full picture."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={browser_data}",
                 f"--window-size={WINDOW[0]},{WINDOW[1]}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(address)

        def named(browser: webdriver.Chrome) -> list:
            return [button for button in browser.find_elements("css selector", "#hvr-samples button") if button.text == SAMPLE]

        WebDriverWait(driver, SECONDS).until(named)[0].click()
        WebDriverWait(driver, SECONDS).until(lambda browser: browser.find_elements("css selector", ".hvr-download"))
        loaded = "return [...document.images].every((image) => image.complete && image.naturalWidth)"
        WebDriverWait(driver, SECONDS).until(lambda browser: browser.execute_script(loaded))
        return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    finally:
        driver.quit()


def main() -> None:
    command = [sys.executable, "app.py", "--port", "0"]
    with (tempfile.TemporaryDirectory() as browser_data,
          subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as page):
        try:
            address = re.search(r"http://\S+", page.stdout.readline())  # type: ignore[union-attr]
            if address is None:
                raise SystemExit("app.py did not start; its message stands above")
            picture = photograph(address[0], browser_data)
        finally:
            page.send_signal(signal.SIGINT)
    picture.save(OUTPUT, quality=88, optimize=True)
    print(f"written: {Path(OUTPUT).relative_to(PROJECT_ROOT)}")


if __name__ == "__main__":
    main()
