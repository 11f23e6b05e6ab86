"""`ratchet inbox`: what was set aside, without what is in it, and applying it again."""

import getpass
import json
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

import workers.apply
from cli import ratchet
from models.inbox import InboxState
from models.integration import Integration
from models.lifecycle import PayoutStatus
from tests.factories import a_payout, an_inbox_event, an_integration, get_inbox_event, get_payout
from tests.receiver.doors import news
from workers.apply import apply
from workers.broker import backlog, broker

BODY = b'{"iban": "DE89370400440532013000"}'


@pytest.fixture
def integration(database: None) -> Integration:
    broker.flush_all()
    return an_integration(slug="eu")


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, ["inbox", *words])


def listed(*options: str) -> list[dict[str, Any]]:
    return list(json.loads(run("list", "--json", *options).output))


def test_what_waits_for_a_person_is_listed_newest_first_and_nothing_that_is_in_it(integration: Integration) -> None:
    poison = an_inbox_event(integration, BODY, state=InboxState.POISON, detail="parse: ValueError")
    unreadable = an_inbox_event(
        integration, BODY, state=InboxState.UNREADABLE, detail="status is a word we do not know"
    )
    an_inbox_event(integration, BODY, state=InboxState.APPLIED)

    found = listed()

    assert [one["id"] for one in found] == [unreadable, poison]
    assert set(found[0]) == {"id", "integration", "state", "detail", "received_at"}
    assert (found[1]["integration"], found[1]["state"], found[1]["detail"]) == ("eu", "poison", "parse: ValueError")
    assert "DE89" not in run("list").output + run("list", "--json").output


def test_one_state_and_one_integration_may_be_asked_for(integration: Integration) -> None:
    here = an_inbox_event(integration, BODY, state=InboxState.POISON)
    there = an_inbox_event(an_integration(slug="us"), BODY, state=InboxState.POISON)
    new = [an_inbox_event(integration, BODY) for _ in range(3)]

    assert [one["id"] for one in listed("--state", "poison", "--integration", "us")] == [there]
    assert [one["id"] for one in listed("--state", "poison", "--limit", "5")] == [there, here]
    assert [one["id"] for one in listed("--state", "new", "--limit", "2")] == new[:0:-1]
    assert "no such events" in run("list", "--state", "conflict").output


def test_what_is_reapplied_by_its_id_is_queued_at_once_and_takes_effect(integration: Integration) -> None:
    payout = a_payout(integration, reference="cpoi_1", amount_minor=100_050, currency="USD")
    event = an_inbox_event(integration, news("cpoi_1"), state=InboxState.POISON, detail="apply: KeyError")

    result = run("reapply", str(event))

    assert (result.exit_code, result.stdout) == (0, f"{event}\n")
    assert backlog("apply") == 1
    apply([event])
    assert get_payout(payout.id).status == PayoutStatus.DELIVERED


def test_all_of_a_state_are_reapplied_so_many_at_a_time(integration: Integration) -> None:
    events = [an_inbox_event(integration, BODY, state=InboxState.UNREADABLE) for _ in range(3)]

    first, second = (run("reapply", "--state", "unreadable", "--limit", "2") for _ in range(2))
    none = run("reapply", "--state", "unreadable")

    assert first.stdout.split() == [str(event) for event in events[:2]]
    assert second.stdout.split() == [str(events[2])]
    assert "there may be more" in first.stderr
    assert "there may be more" not in second.stderr
    assert (none.exit_code, "no such events" in none.stderr) == (0, True)


def test_who_reapplied_what_is_in_the_audit_trail(integration: Integration) -> None:
    event = an_inbox_event(integration, BODY, state=InboxState.POISON, detail="parse: ValueError")

    run("reapply", str(event))

    (line,) = json.loads(CliRunner().invoke(ratchet, ["audit", "list", "--json", "--entity", f"inbox:{event}"]).output)
    assert (line["actor"], line["action"]) == (f"cli:{getpass.getuser()}", "inbox.reapplied")
    assert line["before"] == {"state": "poison", "detail": "parse: ValueError"}


def test_a_conflict_is_refused_with_what_to_do_instead(integration: Integration) -> None:
    event = an_inbox_event(integration, BODY, state=InboxState.CONFLICT)

    for result in (run("reapply", str(event)), run("reapply", "--state", "conflict")):
        assert result.exit_code == 1
        assert "ask the gateway" in result.stderr
    assert get_inbox_event(event).state == InboxState.CONFLICT


@pytest.mark.parametrize(
    "words", [(), ("7", "--state", "poison"), ("0",), ("9223372036854775808",), ("all",), ("--state", "odd")]
)
def test_what_is_meant_has_to_be_said_in_one_way(integration: Integration, words: tuple[str, ...]) -> None:
    assert run("reapply", *words).exit_code == 2


def test_while_the_queue_is_away_the_sweep_is_left_to_take_them(
    integration: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = an_inbox_event(integration, BODY, state=InboxState.POISON)

    def away(*_: object) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(workers.apply, "send_apply", away)

    result = run("reapply", str(event))

    assert result.exit_code == 0
    assert "the sweep" in result.stderr
    assert get_inbox_event(event).state == InboxState.NEW
