"""`ratchet doctor`: what it says is so."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import redis
from click.testing import CliRunner

import settings
from cli import ratchet
from cli.doctor import judged
from embedded.postgres import Postgres
from embedded.redis import Redis
from models.database import transaction
from models.endpoint import Breaker
from models.lifecycle import PayoutStatus
from models.outbox import Delivery
from reconciler.leader import LOCK, Leadership
from tests.factories import a_payout, an_endpoint, get_deliveries, say

pytestmark = pytest.mark.usefixtures("database")

HOUR = timedelta(hours=1)


def found(check: str) -> dict[str, Any]:
    """Return what the doctor says of one check."""
    said = json.loads(CliRunner().invoke(ratchet, ["doctor", "--json"]).stdout)
    (finding,) = [finding for finding in said if finding["check"] == check]
    return dict(finding)


# --- the reconciler


def test_who_leads_another_database_of_the_cluster_does_not_lead_here(servers: tuple[Postgres, Redis]) -> None:
    with psycopg.connect(servers[0].url("elsewhere")) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])

        assert not found("reconciler")["ok"]


def test_who_leads_here_leads() -> None:
    leadership = Leadership(settings.settings().database_url)
    assert leadership.held()

    assert found("reconciler")["ok"]
    leadership.resign()


# --- the outbox


def owed_since_an_hour(**endpoint: Any) -> None:
    an_endpoint(**endpoint)
    payout = a_payout()
    say(payout, PayoutStatus.INITIATED)
    with transaction() as session:
        for delivery in get_deliveries(payout):
            session.get_one(Delivery, delivery.id).next_attempt_at = datetime.now(UTC) - HOUR


@pytest.mark.parametrize("breaker", [Breaker.OPEN, Breaker.CLOSED])
def test_what_waits_for_an_endpoint_that_is_paused_or_rests_is_no_lag(breaker: Breaker) -> None:
    owed_since_an_hour(breaker=breaker, not_before=datetime.now(UTC) + HOUR)

    assert found("outbox")["ok"]


def test_what_could_have_gone_and_has_not_is_a_lag_also_at_a_later_attempt() -> None:
    owed_since_an_hour()
    with transaction() as session:
        session.connection().exec_driver_sql("UPDATE delivery SET attempts = 1")

    outbox = found("outbox")

    assert not outbox["ok"]
    assert "python -m workers" in outbox["detail"]


# --- the queue


@pytest.fixture
def a_user_without_info(servers: tuple[Postgres, Redis], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Go to Redis as one who may use it and not ask about it, as at some who run it for others."""
    url = settings.settings().redis_url
    with redis.Redis.from_url(url) as client:
        client.execute_command("ACL", "SETUSER", "guest", "on", ">word", "~*", "+@all", "-@dangerous")
        monkeypatch.setenv("REDIS_URL", url.replace("unix://", "unix://guest:word@"))
        settings.settings.cache_clear()
        yield
        client.execute_command("ACL", "DELUSER", "guest")
    monkeypatch.undo()
    settings.settings.cache_clear()


def test_a_redis_that_answers_and_does_not_tell_is_not_said_to_be_away(a_user_without_info: None) -> None:
    queue = found("queue")

    assert queue["ok"]
    assert "INFO" in queue["detail"]
    assert "noeviction" in queue["detail"]


GIVEN = {"redis_version": "7.2.4", "tcp_port": 6379, "config_file": "", "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(
    ("told", "is_well", "advice"),
    [
        ({}, True, ""),
        ({"redis_version": "6.2.14"}, True, "upgrade"),
        ({"redis_version": "10.0.0"}, True, ""),
        ({"redis_version": "6.2.14", "tcp_port": 0}, True, ""),
        ({"redis_version": "6.2.14", "tcp_port": 0, "config_file": "/etc/redis/redis.conf"}, True, "upgrade"),
        ({"maxmemory_policy": "allkeys-lru"}, False, "noeviction"),
    ],
)
def test_a_redis_is_judged_by_its_policy_and_one_that_was_given_by_its_age(
    told: dict[str, Any], *, is_well: bool, advice: str
) -> None:
    _, ok, detail = judged(GIVEN | told)

    assert ok is is_well
    assert advice in detail
    assert (";" in detail) is bool(advice)
