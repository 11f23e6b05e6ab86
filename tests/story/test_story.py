"""The README, end to end: the demo as its users run it, and `up` as an operator starts and stops it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

KEYS = {
    "payouts",
    "webhooks_sent",
    "webhooks_accepted",
    "webhooks_refused",
    "duplicates",
    "lost",
    "disagreements",
    "polled",
    "stuck",
    "partner_events_expected",
    "partner_events_received",
    "partner_events_out_of_order",
    "seconds",
}

pytestmark = pytest.mark.timeout(300)


def a_clean_environment(**variables: str) -> dict[str, str]:
    ours = ("DATABASE_URL", "REDIS_URL", "RATCHET_", "PROMETHEUS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables


def ratchet(*words: str) -> list[str]:
    return [str(Path(sys.executable).parent / "ratchet"), *words]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o711)  # PostgreSQL's own user must get through when root runs this
    return tmp_path


def test_the_demo_tells_the_whole_story_and_every_check_holds() -> None:
    command = ratchet("demo", "--json", "--payouts", "60", "--seed", "7")

    ended = subprocess.run(command, capture_output=True, text=True, env=a_clean_environment(), timeout=240, check=False)

    assert ended.returncode == 0, ended.stderr[-3000:]
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert summary.keys() >= KEYS
    assert summary["payouts"] == 60
    assert summary["lost"] == summary["disagreements"] == summary["partner_events_out_of_order"] == 0
    assert summary["partner_events_received"] == summary["partner_events_expected"] > 60
    assert summary["webhooks_refused"] == summary["webhooks_forged"] > 0
    assert summary["duplicates"] > 0
    assert summary["polled"] > 0


def test_up_runs_until_told_to_stop_and_leaves_nothing_behind(open_folder: Path) -> None:
    receiver, partners, operators = free_port(), free_port(), free_port()
    environment = a_clean_environment(
        RATCHET_HOME=str(open_folder),
        RATCHET_RECEIVER_PORT=str(receiver),
        RATCHET_PARTNERS_PORT=str(partners),
        RATCHET_OPERATORS_PORT=str(operators),
    )
    log = open_folder / "up.txt"
    with log.open("w") as output:
        up = subprocess.Popen(ratchet("up"), env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while "Ratchet is up" not in log.read_text():
            assert up.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        children = psutil.Process(up.pid).children(recursive=True)
        doctor = subprocess.run(ratchet("doctor"), env=environment, capture_output=True, text=True, check=False)
        answers = {path: _status(receiver, path) for path in ("/healthz", "/readyz", "/metrics", "/webhooks/nobody")}
        report = _status(operators, "/ops/stuck.json")
        api = {path: _status(partners, path) for path in ("/openapi.json", "/v1/payouts")}
    finally:
        up.send_signal(signal.SIGINT)
        code = up.wait(60)

    assert code == 0
    assert doctor.returncode == 0, doctor.stdout
    assert answers == {"/healthz": 200, "/readyz": 200, "/metrics": 200, "/webhooks/nobody": 404}
    assert report == 401
    assert api == {"/openapi.json": 200, "/v1/payouts": 401}
    assert len(children) >= 6
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert not (open_folder / "environment").exists()


def test_a_second_up_on_the_same_folder_keeps_its_data(open_folder: Path) -> None:
    environment = a_clean_environment(
        RATCHET_HOME=str(open_folder),
        RATCHET_RECEIVER_PORT=str(free_port()),
        RATCHET_PARTNERS_PORT=str(free_port()),
        RATCHET_OPERATORS_PORT=str(free_port()),
    )

    runs = [
        subprocess.run(
            ratchet("up", "--for", "0.5"), env=environment, capture_output=True, text=True, check=False, timeout=90
        )
        for _ in range(2)
    ]

    assert [run.returncode for run in runs] == [0, 0], runs[-1].stderr
    assert (open_folder / "secret-key").stat().st_mode & 0o077 == 0


def _status(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
