"""Everything an installation stands on, brought up on this machine: servers where none are given, keys, folders."""

import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography.fernet import Fernet

import settings
from embedded.postgres import Postgres
from embedded.redis import Redis

ENVIRONMENT: Final = "environment"
"""The file in the data folder from which other commands learn what a running `ratchet up` has decided."""


class House:
    """A data folder with its servers. `with House(folder) as environment:` starts them and stops them."""

    def __init__(self, folder: Path, *, durable: bool = True, ignore_given: bool = False) -> None:
        """Use `folder`; `ignore_given` starts servers even when DATABASE_URL and REDIS_URL are set."""
        self.folder = folder
        database_url = None if ignore_given else settings.given("DATABASE_URL")
        redis_url = None if ignore_given else settings.given("REDIS_URL")
        self._given = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        from_wheel = settings.given("RATCHET_EMBEDDED") == "wheels"
        folder.mkdir(parents=True, exist_ok=True)
        self.postgres = None if database_url else Postgres(folder / "postgres", from_wheel=from_wheel, durable=durable)
        self.redis = None if redis_url else Redis(folder / "redis", from_wheel=from_wheel)

    def __enter__(self) -> Self:
        """Start what is not given, and adopt the outcome in this process's environment."""
        try:
            if self.postgres:
                self.postgres.start()
            if self.redis:
                self.redis.start()
            self.environment = self._environment()
        except BaseException:
            self._stop()
            raise
        settings.adopt(self.environment)
        _write_private(self.folder / ENVIRONMENT, "".join(f"{k}={v}\n" for k, v in self.environment.items()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was started here, and nothing else."""
        (self.folder / ENVIRONMENT).unlink(missing_ok=True)
        self._stop()

    def _stop(self) -> None:
        if self.redis:
            self.redis.stop()
        if self.postgres:
            self.postgres.stop()

    def _environment(self) -> dict[str, str]:
        metrics = self.folder / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)  # counters of processes that are gone would only add up
        metrics.mkdir()
        return {
            "DATABASE_URL": self._given["DATABASE_URL"] or (self.postgres.url() if self.postgres else ""),
            "REDIS_URL": self._given["REDIS_URL"] or (self.redis.url if self.redis else ""),
            "RATCHET_SECRET_KEYS": settings.given("RATCHET_SECRET_KEYS") or self._kept_key(),
            "RATCHET_HOME": str(self.folder),
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }

    def _kept_key(self) -> str:
        file = self.folder / "secret-key"
        if not file.exists():
            _write_private(file, Fernet.generate_key().decode())
        return file.read_text().strip()

    def operator_password(self) -> tuple[str, Path]:
        """Return the password of the operator that `ratchet up` makes, and the file that keeps it."""
        file = self.folder / "operator-password"
        if not file.exists():
            _write_private(file, secrets.token_urlsafe(18))
        return file.read_text().strip(), file


def join_running(folder: Path) -> bool:
    """Adopt the environment of a `ratchet up` that runs on `folder`. False when there is none.

    Whoever was given its database joins it, too, and keeps what else was given; whoever was given another does not.
    """
    file, database_url = folder / ENVIRONMENT, settings.given("DATABASE_URL")
    if not file.exists():
        return False
    told = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    if database_url is None:
        settings.adopt(told)
    elif database_url == told.get("DATABASE_URL"):
        settings.adopt({name: value for name, value in told.items() if settings.given(name) is None})
    else:
        return False
    return True


def _write_private(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
