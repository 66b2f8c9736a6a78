"""app.py in a real browser: Chromium, driven by selenium, with a tiny network. Skipped where one of them is missing."""
from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import infer_image
from benchmarks.page import until
from data.files.images import Photo, read_photo, write_photo

PROJECT = Path(infer_image.__file__).parent
BROWSERS, DRIVERS = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1200,1000")
SECONDS = 60  # to wait at most for what takes one on an idle machine


@pytest.fixture(scope="module")
def weights(save_small_network) -> list[str]:
    return save_small_network(hvr_c=1, inference_border=4)


@pytest.fixture(scope="module")
def browser_path() -> tuple[str, str]:
    """The browser and its driver."""
    pytest.importorskip("gradio", reason="needs gradio: pip install -r requirements-app.txt")
    pytest.importorskip("selenium", reason="needs selenium: pip install -r requirements-dev.txt")
    browser, driver = (next(filter(None, map(shutil.which, names)), None) for names in (BROWSERS, DRIVERS))
    if browser is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    return browser, driver


@pytest.fixture(scope="module")
def page(weights, browser_path, tmp_path_factory):
    """(address, folder of its files) of a page that runs in a process of its own, and leaves nothing behind."""
    folder = tmp_path_factory.mktemp("page")
    with subprocess.Popen([sys.executable, "app.py", *weights, "--port", "0", "--max_megapixels", "1"], cwd=PROJECT, text=True,
                          env=os.environ | {"TMPDIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline()
            if not line:
                raise AssertionError(process.communicate()[1])
            (root,) = folder.iterdir()
            yield re.search(r"http://127\.0\.0\.1:\d+", line)[0], root
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    assert process.returncode == 0 and said == "" and not list(folder.iterdir())


@pytest.fixture(scope="module")
def driver(browser_path, tmp_path_factory):
    """Chromium, which finds no other machine."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser_path[0]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(browser_path[1]))
    yield driver
    driver.quit()


class Tab:
    """The page in a tab, as a person sees it."""

    def __init__(self, driver, address: str) -> None:
        self.driver = driver
        driver.switch_to.new_window("tab")
        self.handle = driver.current_window_handle
        driver.get(address)
        self.until(lambda: self.all("input[type=file]") and self.all("input[type=range]"))

    def here(self) -> Tab:
        self.driver.switch_to.window(self.handle)
        return self

    def all(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return " ".join(element.text for element in self.all(selector))

    def until(self, condition):
        """What `condition` gives once it is true; elements may be replaced while it looks."""
        try:
            return until(condition, SECONDS)
        except SystemExit as error:
            raise AssertionError(f"{error}; the page says: {self.text('body')}") from None

    def drop(self, *photos: Path) -> Tab:
        """As if they were let fall onto the page; those there before are taken away."""
        for button in self.all("#hvr-photos button[aria-label='Clear']"):
            button.click()
            self.until(lambda: not self.all(".hvr-compare") and self.all("input[type=file]"))
        self.all("input[type=file]")[0].send_keys("\n".join(map(str, photos)))
        return self

    def done(self) -> Tab:
        self.until(lambda: re.search(r"Done|are made|failed|Cancelled", self.text("#hvr-status")))
        return self

    def link(self) -> str:
        """The address of the file to take home."""
        return self.until(lambda: [link.get_attribute("href") for link in self.all(".hvr-download")])[0]

    def fetch(self, address: str) -> bytes:
        """The file that the browser gets there."""
        script = """const [address, give] = arguments;
            fetch(address).then((answer) => answer.blob()).then((blob) => {
              const reader = new FileReader();
              reader.onload = () => give(reader.result.split(",")[1]);
              reader.readAsDataURL(blob);
            });"""
        return base64.b64decode(self.driver.execute_async_script(script, address))

    def slide(self, label: str, value: float) -> Tab:
        """By the number beside the slider, from the keyboard."""
        (box,) = self.all(f"input[type=number][aria-label*='{label}']")
        box.send_keys("\ue009a\ue000", f"{value}", "\ue004")  # Ctrl+A, let go, the value, Tab
        return self

    def close(self) -> None:
        self.here().driver.close()
        self.driver.switch_to.window(self.driver.window_handles[0])


@pytest.fixture
def tab(driver, page):
    """`tab()` opens the page once more."""
    opened = []

    def open_tab() -> Tab:
        opened.append(Tab(driver, page[0]))
        return opened[-1]

    yield open_tab
    for one in opened:
        one.close()


@pytest.fixture
def photo(tmp_path, make_photo):
    """`photo(name, seed)` -> a dark photo with EXIF data."""
    def make(name: str, seed: int = 0, height: int = 40, width: int = 56) -> Path:
        exif = Image.Exif()
        exif[0x010F] = "Camera"
        write_photo(tmp_path / name, Photo(make_photo(height, width, seed) // np.uint8(6), exif=exif.tobytes()))
        return tmp_path / name

    return make


@pytest.fixture
def infer(weights, tmp_path, caplog):
    """`infer(photo, ..)` -> the bytes that infer_image.py writes, or what it says where it fails."""
    def run(photo: Path, *options: str) -> bytes | str:
        caplog.clear()
        status = infer_image.main([*weights, *options, "--overwrite", "--input_path", str(photo), "--output_dir",
                                   str(tmp_path / "out")])
        if status:
            return next(message for record in caplog.records if "failed" in (message := record.getMessage()))
        return (tmp_path / "out" / photo.name).read_bytes()

    return run


def test_a_photo_is_dropped_looked_at_and_taken_home(tab, photo, infer, page):
    me, mine = tab(), photo("my photo é.jpg")
    me.drop(mine).done()
    result = me.fetch(me.link())
    assert result == infer(mine)
    assert Image.open(io.BytesIO(result)).getexif()[0x010F] == "Camera"
    assert me.all(".hvr-download")[0].get_attribute("download") == "my photo é_bright.jpg"
    assert len(me.all(".hvr-strip img")) == 3
    before, after = (me.until(lambda part=part: me.driver.execute_script(
        f"const i = document.querySelector('.hvr-stack {part}'); return i.complete && [i.naturalWidth, i.naturalHeight]"))
        for part in (".hvr-before", "img:not(.hvr-before)"))
    assert before == after == [56, 40]


def test_the_slider_over_the_picture_is_moved_by_keys(tab, photo):
    me = tab().drop(photo("a.png")).done()

    def share() -> str:
        return me.driver.execute_script("return document.querySelector('.hvr-stack').style.getPropertyValue('--at')")

    first = me.link()
    me.until(lambda: share() == "50%" and "56x40" in me.text(".hvr-compare figcaption"))  # the full picture, and no preview
    me.all(".hvr-stack input")[0].send_keys("\ue014\ue014")  # arrow right, twice
    me.until(lambda: share() == "52%")
    me.slide("Strength", 0.5)
    me.until(lambda: me.link() != first)
    me.until(lambda: share() == "52%" and me.all(".hvr-stack input")[0].get_attribute("value") == "52")  # it stays where it was


def test_sliders_make_it_anew(tab, photo, infer):
    me, mine = tab(), photo("a.png")
    first = me.drop(mine).link()
    me.slide("Strength", 0.5)
    second = me.until(lambda: (link := me.link()) != first and link)
    assert me.fetch(second) == infer(mine, "--strength", "0.5")
    me.slide("Supervision steps", 3)
    third = me.until(lambda: (link := me.link()) not in (first, second) and link)
    assert me.fetch(third) == infer(mine, "--strength", "0.5", "--hvr_n_supervision", "3")
    assert len(me.until(lambda: (steps := me.all(".hvr-strip img")) and len(steps) == 4 and steps)) == 4


def test_a_broken_file_is_named_and_the_next_one_works(tab, photo, infer, tmp_path):
    me, broken = tab(), tmp_path / "broken.jpg"
    broken.write_bytes(photo("a.jpg").read_bytes()[:300])
    me.drop(broken).done()
    said = me.until(lambda: me.text(".hvr-failed"))
    assert said == infer(broken).replace(str(broken), broken.name)
    assert not me.all(".hvr-download") and me.all(".hvr-failed")[0].get_attribute("role") == "alert"
    whole = photo("whole.png")
    assert me.fetch(me.drop(whole).link()) == infer(whole)


def test_a_photo_of_too_many_pixels(tab, photo):
    me = tab().drop(photo("large.png", height=1001, width=1000)).done()
    assert "1000x1001 is 1.001 megapixels; the limit is 1" in me.text(".hvr-failed")


def test_several_photos_come_as_a_zip_file(tab, photo, infer):
    me, photos = tab(), [photo("a.jpg"), photo("b.png", 1), photo("c.tif", 2)]
    me.drop(*photos).done()
    pack = zipfile.ZipFile(io.BytesIO(me.fetch(me.link())))
    assert {name: pack.read(name) for name in pack.namelist()} == {one.name: infer(one) for one in photos}
    assert len(me.all(".hvr-results a")) == 3 and "3 of 3" in me.text("#hvr-status")


def test_two_people_at_once(tab, photo, infer):
    photos = [photo("mine.png", 1, 200, 300), photo("yours.png", 2)]
    people = [tab(), tab()]
    for person, one in zip(people, photos, strict=True):
        person.here().drop(one)
    for person, one in zip(people, photos, strict=True):
        person.here().done()
        assert person.fetch(person.link()) == infer(one)
        assert one.name in person.text(".hvr-compare figcaption")


def test_cancel(tab, photo, infer):
    me, small = tab(), photo("small.png")
    me.slide("Supervision steps", 8).drop(photo("large.png", height=900, width=1100))
    stop = me.until(lambda: [button for button in me.all("button") if button.text == "Cancel" and button.is_enabled()])[0]
    me.until(lambda: "step" in me.text("#hvr-status"))
    stop.click()
    me.until(lambda: "Cancelled." in me.text("#hvr-status"))
    assert not me.all(".hvr-download") and not stop.is_enabled()
    assert me.fetch(me.drop(small).link()) == infer(small, "--hvr_n_supervision", "8")


def test_a_sample(tab):
    me = tab()
    buttons = me.all("#hvr-samples button")
    assert [button.text for button in buttons] == ["astronaut", "cat", "coffee", "pagoda", "rocket"]
    buttons[1].send_keys("\ue007")  # Enter
    me.done()
    assert read_photo(io_file(me.fetch(me.link()))).pixels.shape == (300, 451, 3)
    assert me.all(".hvr-download")[0].get_attribute("download") == "cat_bright.png"


def io_file(data: bytes) -> Path:
    """`data` as a file."""
    import tempfile

    path = Path(tempfile.mkdtemp()) / "file"
    path.write_bytes(data)
    return path


def test_who_leaves_takes_everything_along(tab, photo, page):
    me = tab().drop(photo("a.png", 5)).done()
    me.link()
    assert [*page[1].glob("visit-*/*/0/a_bright.png")] and [*page[1].glob("*/a.png")]
    me.driver.get("about:blank")
    me.until(lambda: not [*page[1].glob("visit-*")] and not [*page[1].glob("*/a.png")])


def test_a_phone(tab, photo):
    me = tab()
    me.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2,
                                                                      "mobile": True})
    try:
        me.drop(photo("a.png", height=60, width=90), photo("b.png", 1)).done()
        width = me.driver.execute_script("return document.documentElement.scrollWidth")
        top = [me.all(selector)[0].location["y"] for selector in ("#hvr-photos", ".hvr-compare", "input[type=number]")]
    finally:
        me.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width == 390 and top == sorted(top)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_can_be_read(tab, scheme):
    me = tab()
    me.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        me.driver.refresh()
        me.until(lambda: me.all(".hvr-title p"))
        colours = me.driver.execute_script("""return [getComputedStyle(document.querySelector('.hvr-title p')).color,
            getComputedStyle(document.body).backgroundColor]""")
    finally:
        me.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    words, ground = (luminance(*map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert (words > ground) is (scheme == "dark")
    assert (max(words, ground) + 0.05) / (min(words, ground) + 0.05) > 4.5  # WCAG 2.2, 1.4.3


def luminance(*rgb: int) -> float:
    """Relative luminance of sRGB values of 8 bits (WCAG 2.2)."""
    linear = [v / 12.92 if (v := level / 255) <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for level in rgb]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_the_browser_asked_for_nothing_from_elsewhere(driver, page, tab, photo):
    """Of all that the tests above did, and a page once more."""
    tab().drop(photo("a.png")).done()
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert len(asked) > 20
    assert not [url for url in asked if not url.startswith((page[0], "data:", "blob:", "about:", "chrome:"))]
