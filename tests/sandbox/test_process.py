"""The sandbox as a process of its own, and on its own."""

import ast
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

import sandbox
from tests.sandbox.stand import LIMIT_SECONDS

FOLDER = Path(sandbox.__file__).parent


def a_free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_stops_at_once_when_told(number: signal.Signals) -> None:
    port = a_free_port()
    command = [sys.executable, "-m", "sandbox", "--port", str(port), "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=FOLDER.parent) as process:  # noqa: S603 - our own module
        assert process.stdout is not None
        assert process.stderr is not None
        assert select.select([process.stdout], [], [], LIMIT_SECONDS)[0], "it never said that it is ready"
        assert process.stdout.readline() == f"sandbox listening on http://127.0.0.1:{port}\n".encode()
        with requests.Session() as session:
            url = f"http://127.0.0.1:{port}/_sandbox/stats"
            assert session.get(url, timeout=LIMIT_SECONDS).status_code == 200

            process.send_signal(number)
            told_at = time.monotonic()

            assert process.wait(LIMIT_SECONDS) == 0
            assert time.monotonic() - told_at < 3
        assert process.stderr.read() == b""


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
