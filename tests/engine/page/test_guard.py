"""What the page answers, without gradio: a plain application behind the guard."""
from __future__ import annotations

import asyncio
import json

import pytest

from engine.page.guard import MOST_BYTES, Guard


async def inner(scope, receive, send) -> None:
    """Answers everything with what it was sent."""
    body = (await receive()).get("body", b"") if scope["method"] == "POST" else b"inner"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain"),
                                                                          (b"Cache-Control", b"public")]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def ask(tmp_path):
    """`ask(path, body, ..)` -> (status, headers, body); a body is sent in pieces."""
    def call(path, body=None, *, host="127.0.0.1:7860", origin=None, only_local=True):
        pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)] if body else [b""]
        sent = []

        async def receive():
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message):
            sent.append(message)

        headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
        scope = {"type": "http", "method": "GET" if body is None else "POST", "path": path, "headers": headers}
        asyncio.run(Guard(inner, tmp_path / "root", only_local=only_local)(scope, receive, send))
        names = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:])

    return call


@pytest.mark.parametrize("path", ["/", "/theme.css", "/assets/index.js", "/gradio_api/upload", "/gradio_api/queue/data"])
def test_the_page_is_answered_and_nothing_may_be_loaded_from_elsewhere(ask, path):
    status, headers, body = ask(path)
    assert status == 200 and body == b"inner"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';") and "http" not in policy and "*" not in policy


@pytest.mark.parametrize("path", [
    "/gradio_api/info", "/gradio_api/call/begin", "/gradio_api/run/predict", "/gradio_api/proxy=https://x.hf.space/",
    "/gradio_api/deep_link", "/gradio_api/runs", "/gradio_api/component_server", "/gradio_api/openapi.json", "/monitoring",
    "/gradio_api/run-history/buckets", "/docs", "/gradio_api/custom_component/1/client/component/style.css", "/etc/passwd"])
def test_other_doors_are_shut(ask, path):
    assert ask(path)[0] == 403


def test_only_files_of_the_page(ask, tmp_path):
    own = tmp_path / "root/visit/a.jpg"
    own.parent.mkdir(parents=True)
    own.touch()
    (tmp_path / "root/link.jpg").symlink_to("/etc/passwd")
    status, headers, _ = ask(f"/gradio_api/file={own}")
    assert status == 200 and headers["cache-control"] == "no-store"
    for path in ("/etc/passwd", f"{own.parent}/../../secret", "app.py", "~/.ssh/id", "http://example.org/a.jpg",
                 f"{tmp_path}/root/link.jpg", f"{own}\0.jpg", ""):
        assert ask(f"/gradio_api/file={path}")[0] == 403, path


def question(**payload) -> bytes:
    return json.dumps({"fn_index": 0, "session_hash": "x", "data": [[payload], 0.5]}).encode()


def test_questions_come_through_whole(ask, tmp_path):
    body = question(path=f"{tmp_path}/root/aa/photo.png", orig_name="p" * 5000)
    assert ask("/gradio_api/queue/join", body)[::2] == (200, body)


@pytest.mark.parametrize("body", [
    question(path="/etc/passwd"), question(path="https://example.org/a.jpg"), question(path=None), question(path=["/etc"]),
    question(inner={"deep": [{"path": "../../etc/passwd"}]}), b"{broken", b"[" * 100_000,
    b'{"data": "' + b"x" * MOST_BYTES + b'"}'])
def test_questions_that_name_other_files(ask, body):
    assert ask("/gradio_api/queue/join", body)[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "localhost", "[::1]:7860"])
def test_names_of_this_machine(ask, host):
    assert ask("/", host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example:7860", "evil.example", "", "127.0.0.1.evil.example"])
def test_a_foreign_name_that_points_here(ask, host):
    assert ask("/", host=host)[0] == 403
    assert ask("/", host=host, only_local=False)[0] == 200


def test_another_web_site_may_not_ask(ask):
    assert ask("/gradio_api/upload", b"x", origin="http://127.0.0.1:7860")[0] == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999"):
        assert ask("/gradio_api/upload", b"x", origin=origin)[0] == 403
