"""Start programs, wait until they are ready, stop them: only ever the ones that were started here."""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

IN_USE_SECONDS: Final = 5.0
"""How long a folder may still be held by a server that is about to end."""
DIES_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>


class DidNotStart(RuntimeError):
    """A program ended or stayed silent while it was waited for; the text holds the end of its output."""


class InUse(DidNotStart):
    """Another server runs on the folder."""


@contextlib.contextmanager
def sole_use(folder: Path) -> Iterator[int]:
    """Lock `folder` and yield the lock; given to `start()`, it is held until that program has ended.

    Raises `InUse`. Redis would share a folder without a word, and ruin it.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + IN_USE_SECONDS
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise InUse(f"a server runs on {folder} already: stop that one, or use another folder (RATCHET_HOME)")
            time.sleep(0.02)
        yield lock
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _die_with_parent() -> None:
    # Otherwise a killed `ratchet up` would leave servers behind that hold the data folder's locks.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGTERM)


def start(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: dict[str, str] | None = None,
    uid: int | None = None,
    lock: int | None = None,
) -> "subprocess.Popen[bytes]":
    """Start `command` in a process group of its own, its output appended to `log`; it keeps `lock` while it lives."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            user=uid,
            group=uid,
            extra_groups=[] if uid is not None else None,
            start_new_session=True,
            pass_fds=[] if lock is None else [lock],
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (only prctl runs there; no lock is taken)
        )


def wait_until(
    ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path, *, seconds: float = 30
) -> None:
    """Return once `ready()` holds. Raises `DidNotStart` when the process ends first or the time is up."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            state = f"ended with {process.returncode}" if process.returncode is not None else "is not ready"
            raise DidNotStart(f"{Path(str(process.args[0])).name} {state}; {log} ends:\n{tail(log)}")  # type: ignore[index]
        time.sleep(0.01)


def stop(process: "subprocess.Popen[bytes]", *, how: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
    """Ask the process to end, and kill it when it does not."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(nothing)"


def free_ports(number: int) -> list[int]:
    """Return ports of loopback that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
