"""The receiver that partners start from, run as they run it."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from embedded.processes import free_ports
from examples import receiver
from models.endpoint import new_secret
from tests.concurrency import wait_until
from tests.servers import a_process

SECRET = new_secret()


@dataclass
class Kit:
    """A receiver that runs, and its memory."""

    port: int
    memory: Path

    def outcomes(self) -> list[str | None]:
        return [row[0] for row in self.ask("SELECT outcome FROM message ORDER BY number")]

    def standing(self) -> list[tuple[str, int, str]]:
        return self.ask("SELECT id, sequence, status FROM payout ORDER BY id")

    def ask(self, query: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.memory)) as db:
            return db.execute(query).fetchall()

    def post(self, message_id: str, event: Any, *, secret: str = SECRET, age: timedelta = timedelta()) -> int:
        body = event if isinstance(event, str) else json.dumps(event)
        now = datetime.now(UTC) - age
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(message_id, now, body),
        }
        return self.send(body, headers)

    def send(self, body: str, headers: dict[str, str]) -> int:
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("POST", "/hooks", body, headers)
            return connection.getresponse().status

    def has_worked(self) -> bool:
        return None not in self.outcomes()


@contextlib.contextmanager
def a_kit(memory: Path) -> Iterator[tuple[Kit, int]]:
    port = free_ports(1)[0]
    words = ("-m", "examples.receiver", "--port", str(port), "--memory", str(memory))
    with a_process(*words, WEBHOOK_SECRET=SECRET) as process:
        wait_until(lambda: _listens(port))
        yield Kit(port, memory), process.pid


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with a_kit(tmp_path / "receiver.db") as (running, _):
        yield running


def an_event(payout: str, sequence: int, status: str = "broadcast") -> dict[str, Any]:
    facts = {"id": payout, "reference": "tx-1:1", "status": status, "sequence": sequence}
    return {"type": f"payout.{status}", "timestamp": "2026-05-12T09:14:03Z", "data": facts}


def test_a_repeated_event_is_acknowledged_and_worked_once(kit: Kit) -> None:
    answers = [kit.post("evt_1", an_event("pay_1", 1)) for _ in range(3)]

    wait_until(kit.has_worked)
    assert answers == [204, 204, 204]
    assert kit.outcomes() == ["taken"]


def test_an_older_event_changes_nothing_and_a_gap_is_noted(kit: Kit) -> None:
    for message_id, sequence, status in (("a", 1, "pending"), ("b", 4, "delivered"), ("c", 2, "initiated")):
        kit.post(message_id, an_event("pay_1", sequence, status))

    wait_until(kit.has_worked)
    assert kit.outcomes() == ["taken", "taken after a gap of 2", "older"]
    assert kit.standing() == [("pay_1", 4, "delivered")]


def test_what_is_not_ours_or_too_old_is_refused_and_not_kept(kit: Kit) -> None:
    event = an_event("pay_1", 1)

    refused = [
        kit.post("evt_1", event, secret=new_secret()),
        kit.post("evt_1", event, age=timedelta(minutes=6)),
        kit.send(json.dumps(event), {}),
        kit.send(json.dumps(event), {"webhook-id": "x", "webhook-timestamp": "NaN", "webhook-signature": "v1"}),
    ]

    assert refused == [401, 401, 401, 401]
    assert kit.outcomes() == []


def test_a_body_too_large_is_refused_before_it_is_read(kit: Kit) -> None:
    answer = kit.send("", {"content-length": str(receiver.LARGEST_BODY + 1)})

    assert answer == 413


def test_an_event_that_cannot_be_worked_holds_up_no_other(kit: Kit) -> None:
    kit.post("evt_1", {"type": "payout.delivered", "data": {}})
    kit.post("evt_2", {"type": "ping", "data": {}})
    kit.post("evt_3", an_event("pay_1", 1))

    wait_until(kit.has_worked)
    assert kit.outcomes() == ["failed", "not about a payout", "taken"]


def test_what_was_acknowledged_before_a_kill_is_worked_after_it(tmp_path: Path) -> None:
    memory = tmp_path / "receiver.db"
    with a_kit(memory) as (kit, pid):
        kit.post("evt_1", an_event("pay_1", 1))
        os.kill(pid, signal.SIGKILL)
    kept = receiver.Memory(str(memory))
    kept.keep("evt_2", json.dumps(an_event("pay_1", 2, "delivered")).encode())

    with a_kit(memory) as (kit, _):
        wait_until(kit.has_worked)

    assert kit.outcomes() == ["taken", "taken"]
    assert kit.standing() == [("pay_1", 2, "delivered")]


def test_slow_work_keeps_no_request_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, began = threading.Event(), threading.Event()

    def slowly(_: dict[str, Any]) -> None:
        began.set()
        may_end.wait(20)

    monkeypatch.setattr(receiver, "act_on", slowly)
    memory = receiver.Memory(str(tmp_path / "receiver.db"))
    memory.keep("evt_1", json.dumps(an_event("pay_1", 1)).encode())
    worker = threading.Thread(target=memory.take_next)
    worker.start()
    assert began.wait(20)

    memory.keep("evt_2", json.dumps(an_event("pay_1", 2)).encode())

    assert worker.is_alive()
    may_end.set()
    worker.join(20)
    assert Kit(0, Path(memory.path)).outcomes() == ["taken", None]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
