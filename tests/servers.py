"""Servers and processes of a test's own, which it may stop, kill and start again."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import settings
from embedded import processes
from embedded.postgres import Postgres
from embedded.redis import Redis

PROJECT: Final = Path(settings.__file__).parent


@contextlib.contextmanager
def a_folder() -> Iterator[Path]:
    """Return a folder that the unprivileged user of PostgreSQL can walk to, which pytest's `tmp_path` is not."""
    folder = Path(tempfile.mkdtemp(prefix="ratchet-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def a_postgres(*, from_wheel: bool = False) -> Iterator[Postgres]:
    with a_folder() as folder:
        server = Postgres(folder / "postgres", durable=False, from_wheel=from_wheel)
        server.start()
        yield server
        server.stop()


@contextlib.contextmanager
def a_redis(*, from_wheel: bool = False) -> Iterator[Redis]:
    with a_folder() as folder:
        server = Redis(folder / "redis", from_wheel=from_wheel)
        server.start()
        yield server
        server.stop()


@contextlib.contextmanager
def a_process(*words: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `python <words>` in the project until the block ends; its output is in the file `log` beside `process`."""
    with a_folder() as folder:
        command = [sys.executable, *words]
        process = processes.start(command, folder / "log", env={**settings.inherited(), **environment})
        process.log = folder / "log"  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            processes.stop(process)


def log_of(process: "subprocess.Popen[bytes]") -> str:
    """Return what a process has said so far."""
    return str(process.log.read_text())  # type: ignore[attr-defined]


def migrate(database_url: str) -> None:
    """Bring another database than the suite's to the code's schema."""
    with a_process("-c", "from models import schema; schema.migrate()", DATABASE_URL=database_url) as process:
        assert process.wait(30) == 0, log_of(process)
