"""What the page answers at all: its own addresses, asked for by itself, and no file that it did not make.

Gradio has more doors than this page needs (an API, a proxy, links to other servers' files, run histories): they stay shut.
"""
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PAGES = {"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt", "/login", "/logout"}
FOLDERS = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")
CALLS = {f"/gradio_api/{name}" for name in ("queue/join", "queue/data", "upload", "upload_progress", "cancel", "reset", "user",
                                            "login_check", "startup-events", "app_id", "theme.css")}
FILE = "/gradio_api/file="
LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
MOST_BYTES = 2**20  # of a question, uploads apart: the values of sliders and the names of files
HEADERS = {
    # Gradio's page is scripts and styles written into it; from elsewhere comes nothing, whatever it may ask for.
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' "
                               "'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
                               "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
                               "frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Guard:
    """An ASGI application before another one.

    folder: the only place whose files are given out, or named in a question. only_local: the page is for this machine, and
    is asked for by one of its own names: a web site elsewhere cannot have its name point here.
    """

    def __init__(self, app: App, folder: Path, *, only_local: bool) -> None:
        self.app, self.folder, self.only_local = app, folder.resolve(), only_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close"})
        reason = self.refuses(scope)
        if reason is None and scope["path"] == "/gradio_api/queue/join":
            body = await _body(receive)
            if body is None or not self._names_own_files(body):
                reason = "this names a file that is not the page's"
            receive = _again(body or b"", receive)
        if reason is not None:
            return await _answer(send, 403, reason)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = HEADERS | ({"cache-control": "no-store"} if scope["path"].startswith(FILE) else {})
                kept = [(name, value) for name, value in message.get("headers", ()) if name.decode().lower() not in extra]
                message["headers"] = kept + [(name.encode(), value.encode()) for name, value in extra.items()]
            await send(message)

        await self.app(scope, receive, send_guarded)

    def refuses(self, scope: Scope) -> str | None:
        """Why this is not answered; None: it is."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.only_local and host.rsplit(":", 1)[0] not in LOOPBACK:
            return f"the page is asked for as {host!r}; it answers to 127.0.0.1 and localhost"
        if origin is not None and urlsplit(origin).netloc != host:
            return f"another web site, {origin!r}, asks"
        path = scope["path"]
        if path.startswith(FILE):
            return None if self._is_own(path.removeprefix(FILE)) else "no file of the page"
        if path in PAGES or path in CALLS or path.startswith(FOLDERS):
            return None
        return "no such page"

    def _is_own(self, path: str) -> bool:
        return "\0" not in path and Path(path).resolve().is_relative_to(self.folder)

    def _names_own_files(self, body: bytes) -> bool:
        try:
            return all(isinstance(path, str) and self._is_own(path) for path in _paths(json.loads(body)))
        except (ValueError, RecursionError):
            return False


def _paths(value: Any) -> Iterator[Any]:
    """What stands under "path" in a question, at any depth: gradio takes it for a file, or fetches it from a server."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "path":
                yield inner
            yield from _paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


async def _body(receive: Receive) -> bytes | None:
    """The whole question; None where it is longer than one of this page's."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body, more = body + message.get("body", b""), message.get("more_body", False)
        if len(body) > MOST_BYTES:
            return None
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives out `body` as if it had just come, and then what comes after it."""
    waiting = [body]

    async def repeat() -> Message:
        return {"type": "http.request", "body": waiting.pop(), "more_body": False} if waiting else await receive()

    return repeat


async def _answer(send: Send, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
    await send({"type": "http.response.body", "body": text.encode()})
