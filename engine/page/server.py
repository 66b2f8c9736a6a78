"""The page on a port: started, guarded, and cleared away."""
from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from engine.enhancing.enhancer import Enhancer
from engine.page.guard import Guard
from engine.page.visits import KEEP_SECONDS, Visits

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
FOLDER = "hvr-page-"  # begins the name of the folder for all files, in the folder for temporary ones
ENVIRONMENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}


class PageError(ValueError):
    """A page that cannot be opened; the message says why and what to do."""


def serve(enhancer: Enhancer, *, host: str = "127.0.0.1", port: int = 7860, auth: tuple[str, str] | None = None,
          max_megapixels: float, max_megabytes: float, open_browser: bool = False) -> None:
    """Open the page and answer until Ctrl-C, SIGTERM or SIGHUP; then all its files are deleted.

    host: an address of this machine that is listened on; others than 127.0.0.1 let people elsewhere in, with a warning.
    port: 0 takes any that is free. auth: name and password that are asked for. max_megapixels: of a photo;
    max_megabytes: of a file. Raises PageError where gradio is missing or the address cannot be had.
    """
    os.environ.update(ENVIRONMENT)  # before gradio is imported, which reads them
    listening = _listen(host, port)
    with listening, _folder() as root:
        os.environ["GRADIO_TEMP_DIR"] = str(root)  # where it keeps uploads
        app = make_app(enhancer, root, max_megapixels, max_megabytes, auth, only_local=_is_local(host))
        import uvicorn

        address = f"http://{_shown(host)}:{listening.getsockname()[1]}"
        if not _is_local(host):
            who = "with the password" if auth else "(--auth USER:PASSWORD asks for a password)"
            logger.warning("warning: the page listens on %s: everybody who reaches this machine can use it %s; photos and "
                           "passwords travel unencrypted", host, who)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, server.handle_exit)  # a lost terminal; uvicorn itself hears Ctrl-C and SIGTERM alone
        with contextlib.suppress(KeyboardInterrupt):
            print(f"page: {address} (Ctrl-C ends it)", flush=True)
            if open_browser:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            server.run(sockets=[listening])


def make_app(enhancer: Enhancer, root: Path, max_megapixels: float, max_megabytes: float, auth: tuple[str, str] | None,
             *, only_local: bool) -> Guard:
    """The page as an ASGI application with its files below `root`."""
    try:
        import fastapi
        import gradio as gr
    except ImportError as error:
        raise PageError(f"the page needs gradio ({error}): pip install -r requirements-app.txt") from None
    from engine.page.layout import Workshop, build_page, theme

    visits = Visits(root)
    page = build_page(Workshop(enhancer, visits, max_megapixels))
    visits.keep(root.iterdir())
    page.has_launched = True  # launch() does it, mounting does not: only then gradio checks the paths that it is given

    @contextlib.asynccontextmanager
    async def lifespan(_app: fastapi.FastAPI):
        with _sweeping(visits):
            yield

    app = gr.mount_gradio_app(
        fastapi.FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None), page, "/", footer_links=[],
        run_history=False, auth=auth, auth_message="This page asks for a name and a password.", show_error=False,
        max_file_size=int(max_megabytes * 1e6), ssr_mode=False, enable_monitoring=False, mcp_server=False,
        theme=theme(), css_paths=Path(__file__).with_name("page.css"),
        js=Path(__file__).with_name("page.js").read_text(encoding="utf-8"))
    return Guard(app, root, only_local=only_local)


@contextlib.contextmanager
def _sweeping(visits: Visits) -> Iterator[None]:
    """While the page is there, what is older than an hour is deleted; afterwards everything is."""
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(SWEEP_SECONDS):
            visits.sweep()
            os.utime(visits.root)  # others see by it that the page is alive

    thread = threading.Thread(target=sweep, name="page-sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        visits.close()
        thread.join()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A new folder for the page's files, deleted in the end; so are those of pages that were killed more than an hour ago."""
    for old in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError):
            if old.stat().st_mtime < time.time() - KEEP_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    root = Path(tempfile.mkdtemp(prefix=FOLDER)).resolve()
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(place[:2], family=family)
    except OSError as error:
        raise PageError(f"cannot listen on {host}, port {port}: {error.strerror or error}; another page may be open there: "
                        "--port takes another one, 0 any that is free") from None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(host: str) -> str:
    """How a browser on this machine names it."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
