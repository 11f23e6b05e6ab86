"""What a process says of its errors: where and of which kind, never in their own words, which quote what they read."""

import json
import subprocess
import sys
from typing import Any

import pytest

from settings import inherited
from tests.servers import a_process, log_of

PLANTED = "DE89370400440532013000"

BEGINS = """
import asyncio, logging, os, threading
import structlog
from telemetry import logs

logs.configure("told")

def reads(body):
    holder = {"iban": body}
    try:
        int(body)
    except ValueError as error:
        raise LookupError(f"Failing row contains ({holder})") from error

def stumbles():
    reads(os.environ["PLANTED"])
"""


def _said(steps: str) -> list[dict[str, Any]]:
    """Return the lines of a process that takes these steps. What is no JSON, or quotes what was read, fails here."""
    with a_process("-c", BEGINS + steps, PLANTED=PLANTED) as process:
        process.wait(20)
        said = log_of(process)
    assert PLANTED not in said
    return [json.loads(line) for line in said.splitlines()]


def _tells_where(line: dict[str, Any]) -> bool:
    told = line["exception"]
    return "in stumbles" in told and told.index("ValueError") < told.index("LookupError")


@pytest.mark.parametrize("logger", ["structlog.get_logger()", "logging.getLogger('uvicorn.error')"])
def test_an_error_is_told_by_its_frames_and_kinds_its_cause_first(logger: str) -> None:
    (line,) = _said(f"""
try:
    stumbles()
except LookupError:
    {logger}.exception("it.stumbled")
""")

    assert line["event"] == "it.stumbled"
    assert _tells_where(line)


def test_a_group_of_errors_is_told_with_what_it_holds() -> None:
    (line,) = _said("""
try:
    stumbles()
except LookupError as error:
    try:
        raise ExceptionGroup("several", [error])
    except ExceptionGroup:
        structlog.get_logger().exception("it.stumbled")
""")

    assert _tells_where(line)
    assert line["exception"].endswith("builtins.ExceptionGroup")


def test_a_context_that_was_dropped_on_purpose_is_not_told() -> None:
    (line,) = _said("""
try:
    try:
        stumbles()
    except LookupError:
        raise RuntimeError("in our words") from None
except RuntimeError:
    structlog.get_logger().exception("it.stumbled")
""")

    assert "RuntimeError" in line["exception"]
    assert "LookupError" not in line["exception"]


def test_an_error_that_was_raised_from_itself_is_told_once() -> None:
    (line,) = _said("""
try:
    error = ValueError(os.environ["PLANTED"])
    raise error from error
except ValueError:
    structlog.get_logger().exception("it.stumbled")
""")

    assert line["exception"].count("builtins.ValueError") == 1


def test_what_ends_a_process_or_a_thread_is_told_likewise() -> None:
    lines = _said("""
thread = threading.Thread(target=stumbles)
thread.start()
thread.join()
stumbles()
""")

    assert [line["event"] for line in lines] == ["error.uncaught"] * 2
    assert all(map(_tells_where, lines))


def test_a_task_or_a_callback_that_nobody_waits_for_is_told_likewise() -> None:
    lines = _said("""
async def task():
    stumbles()

async def main():
    lost = asyncio.create_task(task())
    asyncio.get_running_loop().call_soon(reads, os.environ["PLANTED"])
    await asyncio.sleep(0.01)
    del lost

asyncio.run(main())
""")

    assert [line["event"] for line in lines] == ["Exception in callback reads", "Task exception was never retrieved"]
    assert all("LookupError" in line["exception"] for line in lines)


def test_a_message_that_a_worker_fails_at_is_told_likewise() -> None:
    (line,) = _said("""
import dramatiq
from dramatiq.brokers.stub import StubBroker
from workers.broker import ReportsFailures

broker = StubBroker(middleware=[ReportsFailures()])
failing = dramatiq.actor(stumbles, broker=broker)
worker = dramatiq.Worker(broker, worker_threads=1)
failing.send()
worker.start()
broker.join("default", fail_fast=False, timeout=10_000)
worker.stop()
""")

    assert line["event"] == "Failed to process message stumbles() with unhandled exception."
    assert _tells_where(line)


def test_what_a_command_logs_is_on_stderr_and_says_as_little() -> None:
    steps = """
import structlog
from telemetry import logs
logs.configure_for_people()
try:
    int(os.environ["PLANTED"] + "?")
except ValueError:
    structlog.get_logger().exception("it.stumbled", ids=3)
"""
    ran = subprocess.run(
        [sys.executable, "-c", "import os" + steps],
        env={**inherited(), "PLANTED": PLANTED},
        capture_output=True,
        check=True,
        text=True,
    )

    assert ran.stdout == ""
    assert "it.stumbled" in ran.stderr
    assert "ids=3" in ran.stderr
    assert "builtins.ValueError" in ran.stderr
    assert PLANTED not in ran.stderr
