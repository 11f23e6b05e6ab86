"""A real Redis on a unix socket that only this user can open."""

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import redis

from embedded import processes
from embedded.binaries import redis_server

LONGEST_SOCKET_PATH: Final = 100


class Redis:
    """One server: `start()`, `url`, `stop()`. Append-only with fsync every second: the database is the truth."""

    def __init__(self, folder: Path, *, from_wheel: bool = False) -> None:
        """Prepare a server whose data stand in `folder`."""
        self.folder = folder
        self.log = folder / "redis.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._program = redis_server(from_wheel=from_wheel)
        self._socket = folder / "redis.sock"
        if len(str(self._socket)) > LONGEST_SOCKET_PATH:
            self._socket = Path(tempfile.mkdtemp(prefix="ratchet-")) / "redis.sock"

    @property
    def url(self) -> str:
        """Return the URL for REDIS_URL."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start the server and wait until it answers. Raises `DidNotStart`."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        command: list[str | Path] = [self._program, "--port", "0", "--unixsocket", self._socket]
        command += ["--unixsocketperm", "700", "--dir", self.folder, "--appendonly", "yes", "--save", ""]
        command += ["--appendfsync", "everysec", "--maxmemory-policy", "noeviction"]
        with processes.sole_use(self.folder) as lock:
            self.process = processes.start(command, self.log, lock=lock)
        processes.wait_until(self._answers, self.process, self.log)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the server; SIGKILL is its crash."""
        if self.process:
            processes.stop(self.process, how=how)
            self.process = None

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, retry=None) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
