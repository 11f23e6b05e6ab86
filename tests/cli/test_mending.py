"""`ratchet events` and `ratchet deliveries`: what an operator sees of what partners were sent, and how they mend it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import ratchet
from models.database import transaction
from models.outbox import DeliveryState
from models.recovery import Recovery
from payouts.portal import open_link
from settings import settings
from tests.factories import an_endpoint, an_organisation
from tests.payouts.missed import STEPS, a_history, an_attempt, close, deliveries
from workers.broker import broker

pytestmark = pytest.mark.usefixtures("database")


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, words)


def told(*words: str) -> Any:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_events_are_listed_by_partner_type_payout_and_time() -> None:
    payout = a_history(*STEPS)
    a_history(organisation="Globex")

    assert len(told("events", "list")) == 5
    assert [event["type"] for event in told("events", "list", "--organisation", "Globex")] == ["payout.pending"]
    assert [event["sequence"] for event in told("events", "list", "--payout", payout.id, "--limit", "2")] == [4, 3]
    assert len(told("events", "list", "--type", "payout.pending", "--since", "1h", "--live")) == 2
    assert told("events", "list", "--test") == told("events", "list", "--until", "1h") == []


def test_one_event_is_shown_with_its_body_and_to_whom_it_was_owed() -> None:
    endpoint = an_endpoint()
    a_history()
    event_id = told("events", "list")[0]["id"]

    shown = told("events", "show", event_id)

    assert shown["body"]["type"] == shown["type"] == "payout.pending"
    assert [one["endpoint"] for one in shown["deliveries"]] == [endpoint.id]
    assert endpoint.id in run("events", "show", event_id).output


def test_deliveries_are_listed_by_endpoint_state_payout_type_and_partner() -> None:
    endpoint = an_endpoint()
    payout = a_history(*STEPS)
    close("dead", sequence=2)
    which = ["--endpoint", endpoint.id, "--payout", payout.id, "--type", "payout.initiated", "--state", "dead"]

    found = told("deliveries", "list", *which, "--organisation", "Acme")

    assert [(one["state"], one["type"]) for one in found] == [("dead", "payout.initiated")]
    assert run("deliveries", "list", "--organisation", "Nobody").exit_code == 2


def test_one_delivery_is_shown_with_its_attempts_and_a_command_without_the_secret() -> None:
    endpoint = an_endpoint()
    a_history()
    delivery = deliveries(endpoint)[0]
    an_attempt(delivery.id, answer=b"<h1>Oh no</h1>\x1b[2J")

    printed, shown = run("deliveries", "show", delivery.id), told("deliveries", "show", delivery.id)

    assert printed.exit_code == 0
    assert "Oh no" in printed.output
    assert "\x1b" not in printed.output
    assert shown["tried"][0]["status_code"] == 500
    assert "WEBHOOK_SECRET" in shown["curl"]
    (secret, *_) = endpoint.secrets().live(datetime.now(UTC))
    assert secret not in printed.output


def test_redelivering_prints_the_delivery_and_queues_it() -> None:
    endpoint = an_endpoint()
    a_history()
    (dead,) = close("dead")
    broker.flush_all()

    result = run("deliveries", "redeliver", dead)

    assert result.exit_code == 0, result.output
    fresh = next(one for one in deliveries(endpoint) if one.state == DeliveryState.OPEN)
    assert result.output.split() == [fresh.id]
    assert broker.do_qsize("deliver") == 1
    assert "brought forward" in run("deliveries", "redeliver", dead).output


def test_a_recovery_is_started_listed_and_shown_with_its_progress() -> None:
    endpoint = an_endpoint()

    result = run("deliveries", "recover", endpoint.id, "--since", "2h")

    assert result.exit_code == 0, result.output
    recovery_id = result.output.split()[0]
    with transaction() as session:
        recovery = session.get_one(Recovery, recovery_id)
    assert timedelta(hours=1.9) < recovery.until - recovery.since < timedelta(hours=2.1)
    shown = {"id": recovery_id, "state": "running", "progress": "0 %"}
    assert told("deliveries", "recoveries")[0].items() >= shown.items()
    assert told("deliveries", "recoveries", recovery_id)[0].items() >= shown.items()
    assert told("deliveries", "recoveries", "--organisation", an_organisation("Globex").name) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["events", "show", "evt_nobody's"], "unknown_event"),
        (["deliveries", "show", "dlv_nobody's"], "unknown_delivery"),
        (["deliveries", "redeliver", "dlv_nobody's"], "unknown_delivery"),
        (["deliveries", "recover", "ep_nobody's", "--since", "2h"], "unknown_endpoint"),
        (["deliveries", "recoveries", "rcv_nobody's"], "unknown_recovery"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(words: list[str], code: str) -> None:
    result = run(*words)

    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {code}: ")


@pytest.mark.parametrize("when", ["yesterday", "2 fortnights", "", "999999d", "999999w"])
def test_a_time_that_cannot_be_read_is_refused_with_examples(when: str) -> None:
    result = run("events", "list", "--since", when)

    assert result.exit_code == 2
    assert "2h" in result.output


def test_a_time_without_a_zone_is_utc() -> None:
    endpoint = an_endpoint()

    run("deliveries", "recover", endpoint.id, "--since", "2026-05-12T09:15:00")

    since = told("deliveries", "recoveries")[0]["since"]
    assert since == "2026-05-12 09:15:00Z"


def test_a_link_to_a_partners_page_is_printed_listed_and_ended() -> None:
    an_organisation()

    printed = run("portal", "link", "Acme", "--test", "--minutes", "5")

    url, *_ = printed.output.split()
    assert url.startswith(f"{settings().public_url}/portal/enter/")
    (link,) = told("portal", "list", "--organisation", "Acme")
    assert (link["is"], link["test_mode"]) == ("fresh", True)
    with transaction() as session:
        assert open_link(session, url.rpartition("/")[2], datetime.now(UTC)).organisation == "Acme"
    assert told("portal", "list")[0]["is"] == "visited"
    assert run("portal", "end", link["id"]).exit_code == 0
    assert told("portal", "list")[0]["is"] == "ended"


def test_a_link_for_nobody_is_refused() -> None:
    assert run("portal", "link", "Nobody").exit_code == 2
    assert run("portal", "end", "lnk_nobody's").output.startswith("Error: unknown_link: ")
