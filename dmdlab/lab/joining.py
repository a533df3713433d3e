"""A Ray cluster that this process joins, or starts."""

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmdlab.config import InputError
from dmdlab.lab.on_ray import Cluster

WAIT = 5.0
"""Seconds in which a cluster answers, or there is none (ours)."""

OBJECTS = 2**28
"""Bytes of the object store of a cluster that we start: little travels (ours)."""


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Cluster]:
    """A cluster at `host:port` or 'auto' (the one of this machine); None starts one of this machine alone, and ends it.

    Raises `InputError` where Ray is not installed, no cluster answers, or none can be started.
    """
    ray, folder = _ray(), None
    if address is not None:
        _check(address)
        how: dict[str, Any] = {"address": address}
    else:
        from dmdlab.device.limits import granted_cores  # torch

        short = Path("/tmp")  # a socket's path has 107 bytes at most
        folder = tempfile.mkdtemp(prefix="dmdlab-ray", dir=short if short.is_dir() else None)
        how = {"address": "local", "num_cpus": granted_cores(), "_temp_dir": folder, "object_store_memory": OBJECTS}
        how["include_dashboard"] = False
    try:
        with _own_signals():
            try:
                ray.init(**how, log_to_driver=False, logging_level="ERROR")
            except (Exception, SystemExit) as error:
                where = f"the Ray cluster at {address} does not let us in" if address else "Ray does not start here"
                raise InputError(f"{where}: {' '.join(str(error).split())[:300]}") from error
        yield Cluster(ray)
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _ray() -> Any:
    """Ray, imported late and without its reports on usage. Raises `InputError` where it is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise InputError(
            f"--engine ray needs Ray ({error}): pip install 'dmdlab[ray]', or leave --engine local"
        ) from None
    return ray


def _check(address: str) -> None:
    """Raises `InputError` unless a cluster answers at this address, soon."""
    expected = (
        "expected host:port of a cluster's head (as `ray start --head` says it), or auto for that of this machine"
    )
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if "//" in address or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--address {address}: {expected}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT) as line:
            line.settimeout(WAIT)
            line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))  # as gRPC begins
            answer = line.recv(9)
    except OSError as error:
        raise InputError(f"--address {address}: nobody answers there ({error}); {expected}") from None
    if answer[3:4] != b"\x04":  # settings, which a gRPC server sends first; Ray itself would try for ever
        raise InputError(f"--address {address}: what answers there is no Ray cluster; {expected}")


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; afterwards signals do again what they did."""
    names = [name for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)
