"""What the figures were measured on: machine, versions, and what a commit means here."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import psutil  # type: ignore[import-untyped]
import psycopg
import pycurl
import redis

PACKAGES: Final = (
    "uvicorn", "uvloop", "httptools", "starlette", "asyncpg", "psycopg", "sqlalchemy", "sqlmodel", "dramatiq", "redis",
    "hiredis", "pycurl", "orjson", "requests", "cryptography",
)  # fmt: skip
SYNCS: Final = 200


def describe(database_url: str, redis_url: str, folder: Path) -> str:
    """Return machine, versions and durability as Markdown lines."""
    memory = psutil.virtual_memory().total / 2**30
    lines = [
        f"- machine: {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}",
        f"- load average before: {os.getloadavg()[0]:.2f} (other work on the machine moves every figure)",
        f"- Python {platform.python_version()}, {_postgres(database_url)}, Redis {_redis(redis_url)}, {_curl()}",
        "- " + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        f"- durability: {_durability(database_url)}; fdatasync of 8 KiB takes {_fdatasync_ms(folder):.2f} ms (median)",
    ]
    return "\n".join(lines) + "\n"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _curl() -> str:
    return str(pycurl.version.split()[1])


def _postgres(url: str) -> str:
    with psycopg.connect(url) as connection:
        return f"PostgreSQL {connection.info.parameter_status('server_version')}"


def _durability(url: str) -> str:
    with psycopg.connect(url) as connection:
        names = ("synchronous_commit", "fsync", "full_page_writes", "wal_compression")
        values = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
    return ", ".join(f"{name} {value[0]}" for name, value in zip(names, values, strict=True) if value)


def _redis(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        return str(client.info("server")["redis_version"])


def _fdatasync_ms(folder: Path) -> float:
    """Time the disk as PostgreSQL's log uses it: write one page, wait until it is down."""
    file = folder / "fdatasync"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    times = []
    try:
        for number in range(SYNCS):
            os.pwrite(descriptor, bytes(8192), number * 8192)
            started = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        file.unlink()
    return median(times) * 1000
