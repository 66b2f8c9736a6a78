"""Where the processes of a launch meet: a key-value store of torch.distributed, or this process's own if it is alone."""
from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from torch import distributed as dist

from engine.launcher import Place, number_of, store_port

COMING = 600.0   # seconds that the first process may take to come
ANSWER = 30.0    # seconds for one answer of the store
TOKEN = "token"  # key of the launch's own random text
LOST = "the connection to the first process is lost: it died, or its launcher or machine did"


class TeamError(ValueError):
    """Processes that did not find each other, or lost the first one."""


class Store(Protocol):
    """What is used of torch.distributed.Store."""

    def set(self, key: str, value: Any) -> None: ...
    def get(self, key: str) -> bytes: ...
    def add(self, key: str, amount: int) -> int: ...
    def check(self, keys: list[str]) -> bool: ...
    def delete_key(self, key: str) -> bool: ...


class OwnStore:
    """A store of one process, for PyTorch without torch.distributed, too."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def set(self, key: str, value: Any) -> None:
        self._values[key] = value

    def get(self, key: str) -> bytes:
        return self._values[key]

    def add(self, key: str, amount: int) -> int:
        self._values[key] = self._values.get(key, 0) + amount
        return self._values[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self._values for key in keys)

    def delete_key(self, key: str) -> bool:
        return self._values.pop(key, None) is not None


@functools.cache
def launch_store(place: Place, folder: Path | None) -> Store:
    """The store of this launch, one connection for the life of the process.

    torchrun and accelerate launch say where it is (MASTER_ADDR, MASTER_PORT), and torchrun has it ready. srun does not: the
    first process opens it, and writes into `folder`, which all must share, where that is. Raises TeamError.
    """
    if not dist.is_available():
        raise TeamError(f"{place.world} processes were started, but this PyTorch is built without torch.distributed; start one")
    if not place.slurm:
        ready = os.environ.get("TORCHELASTIC_USE_AGENT_STORE", "").lower() == "true"
        host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), number_of(os.environ, "MASTER_PORT", 29500)
        store = _connect(host, port, COMING, serve=place.rank == 0 and not ready)
        return dist.PrefixStore(f"hvr {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    if folder is None:
        raise TeamError("processes of srun meet in a shared folder, and none was given")
    return _open(address_file(folder)) if place.rank == 0 else _find(address_file(folder), place)


def address_file(folder: Path) -> Path:
    """Where the first process of this job step tells the others how to reach it."""
    step = ".".join(os.environ.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))
    return folder / f".hvr_processes_{step}.json"


def _connect(host: str, port: int, seconds: float, *, serve: bool = False) -> Any:
    """A client of the store at this address, which this process opens with `serve` (port 0: any that is free)."""
    try:
        return dist.TCPStore(host, port, is_master=serve, wait_for_workers=False, timeout=timedelta(seconds=seconds),
                             multi_tenant=True)
    except RuntimeError as error:
        raise TeamError(f"the processes cannot meet at {host}:{port}: {str(error).splitlines()[0]}") from None


def _open(file: Path) -> Store:
    port = store_port(COMING)
    store, token = _connect("127.0.0.1", port or 0, ANSWER, serve=port is None), uuid.uuid4().hex
    if store.check([TOKEN]):  # of an earlier life of this process
        token = store.get(TOKEN).decode()
    store.set(TOKEN, token)
    names = (os.environ.get("SLURMD_NODENAME"), socket.gethostname(), socket.getfqdn())
    address = {"hosts": [name for name in dict.fromkeys(names) if name], "port": port or store.port, "token": token}
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(f".{token}")
    written.write_text(json.dumps(address))
    written.replace(file)
    return store


def _find(file: Path, place: Place) -> Store:
    """By the file of the first process; one that an earlier launch has left leads nowhere, and is waited out."""
    until = time.monotonic() + COMING
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            address = json.loads(file.read_text())
            hosts = ["127.0.0.1"] if socket.gethostname() in address["hosts"] else address["hosts"]
            store = _reach(hosts, int(address["port"]), str(address["token"]))
            if store is not None:
                return store
        time.sleep(0.1)
    raise TeamError(f"process {place.rank} of {place.world} (SLURM_PROCID) found no first process by {file} within "
                    f"{COMING:.0f} s: is {file.parent} a folder that all machines share?")


def _reach(hosts: Sequence[str], port: int, token: str) -> Store | None:
    """The store at the first of `hosts` that answers, if it has this token."""
    for host in hosts:
        try:
            socket.create_connection((host, port), 3).close()
            store = _connect(host, port, ANSWER)
        except (OSError, TeamError):
            continue
        if store.check([TOKEN]) and store.get(TOKEN).decode() == token:
            return store
    return None


class Line:
    """A store whose loss is one error, TeamError, from then on; `prefix` keeps its keys from those of others."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix, self.lost = store, prefix, False
        self._lock, self._written = threading.Lock(), set[str]()

    def __call__(self, method: str, key: str, *value: Any) -> Any:
        """`store.method(prefix + key, *value)`; method: set, get, add or check."""
        if self.lost:
            raise TeamError(LOST)
        key = self._prefix + key
        if method in ("set", "add"):
            self._written.add(key)
        try:
            with self._lock:
                return getattr(self._store, method)([key] if method == "check" else key, *value)
        except RuntimeError:
            self.lost = True
            raise TeamError(LOST) from None

    def forget(self) -> None:
        """Take what this process has written out of the store: one that lives as long as a training would grow and grow."""
        for key in self._written:
            self._store.delete_key(key)
