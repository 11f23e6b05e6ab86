"""A real PostgreSQL on a unix socket, owned by an unprivileged user, its data kept in one folder."""

import os
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from embedded import processes
from embedded.binaries import postgres_folder

UNPRIVILEGED: Final = 65534  # nobody: PostgreSQL refuses to run as root
LONGEST_SOCKET_PATH: Final = 90  # the kernel allows 107 bytes, and the socket's own name comes on top


class Postgres:
    """One server: `start()`, `url(database)`, `stop()`. The folder may be used by one server at a time."""

    def __init__(self, folder: Path, *, from_wheel: bool = False, durable: bool = True) -> None:
        """Prepare a server whose data stand in `folder`; `durable=False` skips fsync, for tests only."""
        self.uid = UNPRIVILEGED if os.geteuid() == 0 else None
        self.folder = _reachable(folder, self.uid)
        self.sockets = _socket_folder(self.folder)
        self.log = self.folder / "postgres.log"
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        self._programs = _reachable_programs(postgres_folder(from_wheel=from_wheel), self.uid)

    def start(self) -> None:
        """Create the cluster if there is none, start it and wait until it answers. Raises `DidNotStart`."""
        for folder in (self.folder, self.sockets):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.uid is not None:
                os.chown(folder, self.uid, self.uid)
        with processes.sole_use(self.folder) as lock:
            self.process = self._start(lock)
        processes.wait_until(self._answers, self.process, self.log)

    def _start(self, lock: int) -> "subprocess.Popen[bytes]":
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._create()
        command: list[str | Path] = [self._programs / "postgres", "-D", self.folder / "data", "-k", self.sockets]
        for setting in ("listen_addresses=", "unix_socket_permissions=0700", *self._tuning()):
            command += ["-c", setting]
        return processes.start(command, self.log, uid=self.uid, lock=lock)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server. SIGINT is PostgreSQL's fast shutdown, SIGQUIT its crash."""
        if self.process:
            processes.stop(self.process, how=how)
            self.process = None

    def url(self, database: str = "ratchet") -> str:
        """Return the URL of `database`, which is created if it is missing."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
        return self._url(database)

    def _url(self, database: str) -> str:
        return f"postgresql://ratchet@/{database}?host={quote(str(self.sockets), safe='/')}"

    def _tuning(self) -> list[str]:
        memory = ["max_connections=200", "shared_buffers=128MB"]
        common = [*memory, "min_wal_size=512MB", "max_wal_size=2GB", f"wal_compression={self._wal_compression()}"]
        return common if self.durable else [*common, "fsync=off", "full_page_writes=off"]

    def _wal_compression(self) -> str:
        """Return the cheapest that this build has: lz4 takes a tenth of the time of PostgreSQL's own way."""
        asked: list[str | Path] = [self._programs / "postgres", "-D", self.folder / "data"]
        asked += ["-c", "wal_compression=lz4", "-C", "wal_compression"]
        answer = subprocess.run(asked, capture_output=True, check=False, user=self.uid)
        return "on" if answer.returncode else "lz4"

    def _create(self) -> None:
        # A server of another major version, or an initdb that was killed, leaves a folder that cannot be used.
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        command: list[str | Path] = [self._programs / "initdb", "-D", self.folder / "data", "-U", "ratchet"]
        command += ["-E", "UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject"]
        creation = processes.start(command, self.log, uid=self.uid)
        if creation.wait(120) != 0:
            raise processes.DidNotStart(f"initdb failed; {self.log} ends:\n{processes.tail(self.log)}")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _traversable(folder: Path, uid: int | None) -> bool:
    """Tell whether `uid` may walk down to `folder`."""
    if uid is None:
        return True
    return all(
        parent.stat().st_mode & stat.S_IXOTH or parent.stat().st_uid == uid
        for parent in (folder, *folder.parents)
        if parent.exists()
    )


def _reachable(folder: Path, uid: int | None) -> Path:
    """Return `folder`, or a link's target in /var/lib where root's project is closed to everybody else."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if _traversable(folder.parent, uid):
        return folder
    if not folder.is_symlink():
        elsewhere = Path("/var/lib/ratchet")
        elsewhere.mkdir(mode=0o711, exist_ok=True)
        folder.symlink_to(tempfile.mkdtemp(dir=elsewhere))
    return folder.resolve()


def _reachable_programs(programs: Path, uid: int | None) -> Path:
    """Return the programs' folder, copied to where an unprivileged user can run it if need be."""
    if _traversable(programs, uid):
        return programs
    copy = Path("/var/lib/ratchet") / programs.parent.name
    if not (copy / "bin" / "postgres").exists():
        shutil.copytree(programs.parent, copy, dirs_exist_ok=True)
    return copy / "bin"


def _socket_folder(folder: Path) -> Path:
    """Return where the sockets stand: in `folder`, or under /tmp when that path is too long for a socket."""
    if len(str(folder)) < LONGEST_SOCKET_PATH - len("/run"):
        return folder / "run"
    return Path(tempfile.mkdtemp(prefix="ratchet-"))
