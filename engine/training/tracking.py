"""What a run reports: history.jsonl in its folder, and wandb where it is wanted and installed."""
from __future__ import annotations

import json
import logging
import netrc
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from exp_config import Config

logger = logging.getLogger(__name__)

HISTORY_FILE = "history.jsonl"
TRUE = ("true", "1", "yes", "on", "y", "t")


def wandb_mode(environ: Mapping[str, str]) -> Literal["off", "offline", "online"]:
    """What the variables ask for: off by WANDB_DISABLED=true or WANDB_MODE=disabled, else offline, the default.

    WANDB_MODE=online needs a key (WANDB_API_KEY, or `wandb login` once): without one it would ask on the terminal, so it
    is offline then, with a warning.
    """
    mode = environ.get("WANDB_MODE", "").strip().lower() or "offline"
    if environ.get("WANDB_DISABLED", "").strip().lower() in TRUE or mode == "disabled":
        return "off"
    if mode in ("online", "shared", "run"):
        if environ.get("WANDB_API_KEY") or _has_login(environ):
            return "online"
        logger.warning("WANDB_MODE=%s, but there is no key: logging offline. Run `wandb login` once or set WANDB_API_KEY; "
                       "`wandb sync` sends the run later", mode)
    elif mode not in ("offline", "dryrun"):
        logger.warning("WANDB_MODE=%s is not known; expected online, offline or disabled. Logging offline", mode)
    return "offline"


def _has_login(environ: Mapping[str, str]) -> bool:
    """Whether `wandb login` has left a key in the netrc file."""
    host = environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].strip("/").split(":")[0]
    try:
        return netrc.netrc(environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class History:
    """history.jsonl: one line per report, {"kind", "step", "epoch", ..numbers..}. A resumed run continues it exactly."""

    def __init__(self, run: Path, lines: int) -> None:
        """Keep the first `lines` lines of an earlier start; later ones belong to work that is done again."""
        path = run / HISTORY_FILE
        there = path.read_bytes().splitlines(keepends=True)[:lines] if path.is_file() else []
        kept = [line for line in there if line.endswith(b"\n")]  # a full disk may have cut the last one
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(b"".join(kept))
        os.replace(temporary, path)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        self._unwritten = b""
        self._warned = False
        self.lines = len(kept)

    def add(self, record: Mapping[str, Any]) -> None:
        """Append a line. Where the disk is full it is kept and written once there is room; one warning says so."""
        self._unwritten += json.dumps(record).encode() + b"\n"
        self.lines += 1
        self._write()

    def close(self) -> None:
        self._write()
        with suppress(OSError):
            self._file.close()

    def _write(self) -> None:
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten):]
        except OSError as error:
            if not self._warned:
                logger.warning("%s cannot be written (%s); the training goes on, its lines wait", self._file.name, error)
            self._warned = True


class Tracker:
    """Reports of one run, made by the main process alone; wandb's troubles never end a training."""

    def __init__(self, run: Path, run_id: str, config: Config, history_lines: int) -> None:
        self.history = History(run, history_lines)
        self._wandb = _start_wandb(run, run_id, config)

    def report(self, kind: str, step: int, epoch: int, numbers: Mapping[str, float],
               speed: float | None = None) -> None:
        """`numbers` of this step and (1-based) epoch; names in wandb are `kind/name`. speed: images per second."""
        record: dict[str, Any] = {"kind": kind, "step": step, "epoch": epoch, **numbers}
        if speed is not None:
            record["images_per_second"] = round(speed, 2)
        self.history.add(record)
        self._log({"step": step, "epoch": epoch} | {f"{kind}/{k}": v for k, v in record.items() if k not in
                                                   ("kind", "step", "epoch")})

    def pictures(self, step: int, files: Mapping[str, Path]) -> None:
        """Pictures by caption, for wandb."""
        if self._wandb is None or not files:
            return
        import wandb

        try:
            images = {f"pictures/{name}": wandb.Image(str(file)) for name, file in files.items()}
        except Exception as error:  # a file that cannot be read, or no room for wandb's copy of it
            logger.warning("no pictures for wandb: %s", error)
        else:
            self._log({"step": step} | images)

    def close(self) -> None:
        """End the reports; an offline run can be sent by `wandb sync`."""
        self.history.close()
        if self._wandb is not None:
            try:
                self._wandb.finish()
            except Exception as error:
                logger.warning("wandb could not end its run: %s", error)

    def _log(self, values: Mapping[str, Any]) -> None:
        if self._wandb is None:
            return
        try:
            self._wandb.log(dict(values))
        except Exception as error:
            logger.warning("wandb stopped working (%s: %s); the training goes on without it", type(error).__name__, error)
            self._wandb = None


def _start_wandb(run: Path, run_id: str, config: Config) -> Any:
    """The wandb run, or None: switched off, not installed, or failed to start."""
    mode = wandb_mode(os.environ)
    if mode == "off":
        return None
    try:
        import wandb
    except ImportError:
        logger.warning("wandb is not installed, so nothing is logged there; WANDB_DISABLED=true silences this")
        return None
    try:
        started = wandb.init(project=config.project_name, name=run.name, id=run_id, resume="allow", dir=str(run), mode=mode,
                             config=asdict(config), settings=wandb.Settings(console="off", quiet=True))
        started.define_metric("*", step_metric="step")  # a resumed run repeats steps: wandb's own counter would drop them
        return started
    except Exception as error:
        logger.warning("wandb could not start (%s: %s); the training goes on without it", type(error).__name__, error)
        return None
