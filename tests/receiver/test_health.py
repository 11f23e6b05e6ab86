"""What the door says about itself."""

import contextlib
import json
import re
import threading
from http import HTTPStatus

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from models import schema
from payouts import lags
from receiver import health
from telemetry import metrics
from tests.concurrency import wait_until
from tests.factories import an_integration
from tests.receiver.doors import Door, a_door, a_door_process, a_server, news
from tests.servers import a_postgres, a_process, a_redis, log_of


def _ready(door: Door) -> tuple[int, dict[str, str]]:
    reply = door.ask("GET", "/readyz")
    return reply.status, json.loads(reply.body)["checks"]


def test_healthz_says_that_the_process_answers(door: Door) -> None:
    reply = door.ask("GET", "/healthz")

    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})


def test_readyz_is_200_when_everything_answers(door: Door) -> None:
    assert _ready(door) == (200, {"database": "ok", "queue": "ok", "migrations": "ok"})


def test_readyz_says_that_the_database_is_away() -> None:
    with a_door_process(DATABASE_URL="postgresql://ratchet@/ratchet?host=/nowhere") as door:
        status, checks = _ready(door)
        healthy = door.ask("GET", "/healthz").status

    assert (status, checks["queue"]) == (503, "ok")
    assert "OperationalError" in checks["database"]
    assert healthy == 200


def test_readyz_says_that_the_queue_is_away() -> None:
    with a_redis() as gone:
        url = gone.url
    with a_door_process(REDIS_URL=url) as door:
        status, checks = _ready(door)

    assert (status, checks) == (503, {"database": "ok", "queue": "ConnectionError", "migrations": "ok"})


def test_readyz_says_which_migration_is_missing_and_what_to_do() -> None:
    with a_postgres() as empty, a_door_process(DATABASE_URL=empty.url()) as door:
        status, checks = _ready(door)

    assert (status, checks["database"], checks["queue"]) == (503, "ok", "ok")
    assert checks["migrations"] == f"at None, needs {schema.wanted()}: run `ratchet migrate`"


def test_a_check_that_hangs_is_a_check_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    may_go = threading.Event()
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setitem(health._CHECKS, "queue", lambda: may_go.wait(20))
    with a_server(Starlette(routes=health.Health().routes)) as door:
        status, checks = _ready(door)
        may_go.set()

    assert (status, checks["queue"]) == (503, "TimeoutError")


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
def test_strangers_who_hold_figures_and_checks_open_keep_no_webhook_waiting(
    database: None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    may_go = threading.Event()
    monkeypatch.setattr(lags, "read_lags", lambda _: may_go.wait(60))
    monkeypatch.setitem(health._CHECKS, "queue", lambda: may_go.wait(60))
    integration = an_integration()

    with a_door() as door, contextlib.ExitStack() as held:
        held.callback(may_go.set)
        for _ in range(64):
            stranger = held.enter_context(door.connect())
            stranger.sendall(f"GET {path} HTTP/1.1\r\nhost: ratchet.test\r\n\r\n".encode())
        status = door.post(integration, news()).status

    assert status == 200


def test_figures_of_the_database_are_read_once_for_many_scrapes(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    monkeypatch.setattr(lags, "read_lags", reads.append)
    with a_door() as door:
        scrapes = [door.ask("GET", "/metrics").status for _ in range(5)]

    assert (scrapes, len(reads)) == ([200] * 5, 1)


def test_counters_are_told_as_they_stand(door: Door) -> None:
    an_integration(slug="watched")
    wait_until(lambda: door.post("watched", news(), {}).status == HTTPStatus.UNAUTHORIZED)
    before = _refused(door)

    door.post("watched", news(), {})

    assert _refused(door) == before + 1


def _refused(door: Door) -> float:
    told = re.search(
        r'{integration="watched",reason="missing_header"} (\S+)', door.ask("GET", "/metrics").body.decode()
    )
    assert told
    return float(told[1])


def test_metrics_contain_every_family_that_the_code_defines(door: Door) -> None:
    families = [family for family in vars(metrics).values() if isinstance(family, Counter | Histogram)]
    for family in families:
        child = family.labels(*["-"] * len(family._labelnames)) if family._labelnames else family
        _touch(child)

    reply = door.ask("GET", "/metrics")

    told = {family.name for family in text_string_to_metric_families(reply.body.decode())}
    assert len(families) > 5
    assert {family._name for family in families} <= told
    assert "ratchet_stuck_payouts" in told
    assert reply.headers["content-type"].startswith("text/plain")


def _touch(child: Counter | Histogram) -> None:
    if isinstance(child, Counter):
        child.inc(0)
    else:
        child.observe(0.001)


def test_metrics_are_told_without_a_database_too() -> None:
    with a_door_process(DATABASE_URL="postgresql://ratchet@/ratchet?host=/nowhere") as door:
        door.post("anybody", b"")

        reply = door.ask("GET", "/metrics")

    assert reply.status == 200
    assert b"ratchet_webhooks_refused_total" in reply.body
    assert b"lags are unknown" in reply.body


def test_metrics_are_told_without_a_folder_to_share_them_in() -> None:
    with a_door_process(PROMETHEUS_MULTIPROC_DIR="") as door:
        door.post("anybody", b"")

        reply = door.ask("GET", "/metrics")

    assert reply.status == 200
    assert b"ratchet_webhooks_refused_total" in reply.body


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_the_doors_own_pages_are_read_only(door: Door, path: str) -> None:
    reply = door.ask("POST", path)

    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert "GET" in reply.headers["allow"]


def test_a_door_that_does_not_exist_is_refused_by_name() -> None:
    with a_process("-m", "receiver", "back") as process:
        assert process.wait(20) == 1
        assert "no door 'back'; there are: gateways, partners, operators" in log_of(process)
