"""The sandbox as a process of its own, and on its own."""

import ast
import contextlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sandbox
from tests.sandbox.stand import (
    LIMIT_SECONDS,
    Clock,
    Receiver,
    Stand,
    configure,
    wait_until,
)

FOLDER = Path(sandbox.__file__).parent


def a_free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def a_process() -> Iterator[tuple[subprocess.Popen[bytes], Stand]]:
    port = a_free_port()
    command = [sys.executable, "-m", "sandbox", "--port", str(port), "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=FOLDER.parent) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], LIMIT_SECONDS)[0], "it never said that it is ready"
            assert process.stdout.readline() == f"sandbox listening on http://127.0.0.1:{port}\n".encode()
            yield process, Stand(f"http://127.0.0.1:{port}", Clock())
        finally:
            process.kill()


def seconds_to_stop(process: subprocess.Popen[bytes], number: signal.Signals) -> float:
    process.send_signal(number)
    told_at = time.monotonic()
    _, complaints = process.communicate(timeout=LIMIT_SECONDS)

    assert (process.returncode, complaints) == (0, b"")
    return time.monotonic() - told_at


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_stops_at_once_when_told(number: signal.Signals) -> None:
    with a_process() as (process, stand):
        assert stand.stats()["is_idle"]

        assert seconds_to_stop(process, number) < 3


def test_it_stops_at_once_in_the_middle_of_everything(receiver: Receiver) -> None:
    may_answer = threading.Event()
    receiver.answer = lambda _request, _nth: 200 if may_answer.wait(LIMIT_SECONDS) else 500
    with a_process() as (process, stand), ThreadPoolExecutor() as pool:
        configure(stand, receiver.url)
        stand.pay("mollie", "pay_1:1")
        stand.behave(slow=1, slow_seconds=[60, 60])
        lingering = pool.submit(stand.create, "mollie", "pay_2:1")
        wait_until(lambda: stand.webhooks()["sent"] >= 3 and stand.stats()["misbehaved"]["slow"] == 1)

        assert seconds_to_stop(process, signal.SIGTERM) < 3
        assert lingering.result(LIMIT_SECONDS).status_code == 201
        may_answer.set()


def test_it_imports_nothing_of_ratchet() -> None:
    ours = {path.stem for path in FOLDER.parent.iterdir() if path.suffix == ".py" or path.is_dir()} - {"sandbox"}
    imported = {
        name.partition(".")[0]
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _names(node)
    }

    assert imported
    assert not imported & ours


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
