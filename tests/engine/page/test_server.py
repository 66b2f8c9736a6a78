"""The page with gradio in it, asked without a browser; and how it starts and ends."""
from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from engine.page import server
from engine.page.server import PageError, serve

PROJECT = Path(server.__file__).parents[2]


@pytest.fixture
def open_page(enhancer, tmp_path, monkeypatch):
    """`open_page(..)` -> a client of the page, with the options of `make_app`; its files are below tmp_path."""
    pytest.importorskip("gradio", reason="needs gradio: pip install -r requirements-app.txt")
    from starlette.testclient import TestClient

    for name, value in (server.ENVIRONMENT | {"GRADIO_TEMP_DIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)

    def client(auth=None, megabytes=1.0):
        app = server.make_app(enhancer, tmp_path, 10, megabytes, auth, only_local=True)
        return TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False)

    return client


def test_the_page_asks_for_nothing_from_elsewhere(open_page):
    """What the browser is given: no address of another server in a place that is loaded from."""
    client = open_page()
    html, css = client.get("/").text, client.get("/theme.css").text
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)|url\(["']?([^"')]+)|@import ["']([^"']+)""", html + css)
    assert loaded and not [found for found in loaded if any("//" in part for part in found)]
    assert client.get("/config").json()["analytics_enabled"] is False


def test_uploads_are_given_back_and_limited(open_page, make_upload, tmp_path):
    client = open_page(megabytes=0.05)
    photo = make_upload(tmp_path / "mine/photo.jpg").read_bytes()
    (path,) = client.post("/gradio_api/upload", files={"files": ("photo.jpg", photo)}).json()
    assert Path(path).is_relative_to(tmp_path) and client.get(f"/gradio_api/file={path}").content == photo
    refused = client.post("/gradio_api/upload", files={"files": ("large.jpg", b"x" * 60_000)})
    assert refused.status_code == 413 and "size" in refused.text


def test_no_file_of_the_machine(open_page):
    client = open_page()
    for path in ("/etc/passwd", str(PROJECT / "app.py"), "app.py", "https://example.org/"):
        assert client.get(f"/gradio_api/file={path}").status_code == 403


def test_gradio_itself_refuses_them_too(open_page):
    """Behind the guard, in case it is ever passed by."""
    from starlette.testclient import TestClient

    client = TestClient(open_page().app.app, base_url="http://127.0.0.1:7860")
    assert client.get("/gradio_api/file=/etc/passwd").status_code == 403


def test_a_password(open_page):
    client = open_page(auth=("ann", "secret"))
    assert client.get("/config").status_code == 401
    assert client.post("/gradio_api/upload", files={"files": ("a.jpg", b"x")}).status_code == 401
    assert client.post("/login", data={"username": "ann", "password": "wrong"}).status_code == 400
    assert client.post("/login", data={"username": "ann", "password": "secret"}).json() == {"success": True}
    assert client.get("/config").status_code == 200


def limits(**changes):
    return {"max_megapixels": 10, "max_megabytes": 1, "port": 0, **changes}


def test_a_port_that_is_taken(enhancer):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PageError, match="--port takes another one"):
        serve(enhancer, **limits(port=taken.getsockname()[1]))


def test_an_address_that_is_not_of_this_machine(enhancer):
    with pytest.raises(PageError, match="cannot listen on 192.0.2.1"):
        serve(enhancer, **limits(host="192.0.2.1"))


def test_without_gradio(enhancer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(PageError, match="pip install -r requirements-app.txt"):
        server.make_app(enhancer, tmp_path, 10, 1, None, only_local=True)


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("127.0.0.2", True), ("localhost", True), ("::1", True),
                                             ("0.0.0.0", False), ("192.168.1.5", False), ("::", False), ("my-machine", False)])
def test_which_addresses_are_this_machine_alone(host, local):
    assert server._is_local(host) is local


def test_folders_of_pages_that_were_killed_are_deleted(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, alive = tmp_path / "hvr-page-old", tmp_path / "hvr-page-alive"
    for folder in (old, alive):
        (folder / "visit").mkdir(parents=True)
    os.utime(old, (time.time() - 4000,) * 2)
    with server._folder() as root:
        assert {*tmp_path.iterdir()} == {alive, root}
    assert {*tmp_path.iterdir()} == {alive}


def test_the_script_from_beginning_to_end(weights, tmp_path):
    """Warned of an open address, stopped as docker does: nothing of the page's is left."""
    pytest.importorskip("gradio", reason="needs gradio: pip install -r requirements-app.txt")
    process = subprocess.Popen([sys.executable, "app.py", *weights, "--port", "0", "--host", "0.0.0.0"], cwd=PROJECT, text=True,
                               env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    address = re.fullmatch(r"page: (http://127\.0\.0\.1:\d+) \(Ctrl-C ends it\)\n", process.stdout.readline())[1]
    with urllib.request.urlopen(address, timeout=30) as answer:  # it has begun to listen
        assert answer.status == 200
    assert list(tmp_path.iterdir())
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0 and said.splitlines()[0].startswith("warning: the page listens on 0.0.0.0"), said
    assert len(said.splitlines()) == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "words"), [
    (["--auth", "ann"], "expected USER:PASSWORD"), (["--port", "70000"], "0 to 65535"), (["--share"], "--share"),
    (["--weights_path", "none.safetensors"], "none.safetensors"), (["--max_megapixels", "1000"], "0 to 178")])
def test_wrong_options(options, words, capsys, caplog):
    import app

    caplog.set_level(logging.WARNING)
    try:
        status = app.main(options)
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr().err
    assert status == 2 and said.startswith("error: ") and words in said and len(said.splitlines()) == 1
