"""What was set aside is new again when somebody says so, and what could do harm is refused."""

from datetime import UTC, datetime

import pytest
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.inbox import InboxState, NewEvent
from models.integration import Integration
from payouts.apply import apply_events, set_poison_aside
from payouts.reapply import REAPPLICABLE, reapply, reapply_all
from payouts.refused import Refused
from tests.concurrency import at_once
from tests.factories import a_payout, an_inbox_event, an_integration, get_inbox_event, get_observations
from tests.receiver.doors import news

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
BY = "cli:ada"


@pytest.fixture
def integration(database: None) -> Integration:
    return an_integration()


def an_event_aside(integration: Integration, state: InboxState, detail: str = "apply: KeyError") -> int:
    return an_inbox_event(integration, b"{}", state=state, detail=detail)


def _reapply(*ids: int) -> list[int]:
    with transaction() as session:
        return reapply(session, ids, by=BY, now=NOW)


def _reapply_all(state: InboxState, most: int = 10) -> list[int]:
    with transaction() as session:
        return reapply_all(session, state, most, by=BY, now=NOW)


def _trail() -> list[AuditLine]:
    with transaction() as session:
        return list(session.exec(select(AuditLine).order_by("id")))


def test_what_failed_on_our_side_is_applied_once_it_was_mended(integration: Integration) -> None:
    payout = a_payout(integration, reference="cpoi_1", amount_minor=100_050, currency="USD")
    event = an_inbox_event(integration, news("cpoi_1"))
    with transaction() as session:
        set_poison_aside(session, event, "apply: KeyError", NOW)

    again = _reapply(event)
    with transaction() as session:
        apply_events(session, again, NOW)

    assert again == [event]
    assert get_inbox_event(event).state == InboxState.APPLIED
    assert len(get_observations(payout)) == 1


@pytest.mark.parametrize("state", REAPPLICABLE)
def test_what_was_set_aside_is_new_again_and_due_at_once(integration: Integration, state: InboxState) -> None:
    event = an_event_aside(integration, state)

    _reapply(event)

    with transaction() as session:
        new = session.get_one(NewEvent, event)
    assert (get_inbox_event(event).state, new.swept_at) == (InboxState.NEW, None)


def test_who_did_it_and_why_it_had_been_set_aside_is_on_record(integration: Integration) -> None:
    events = [an_event_aside(integration, InboxState.POISON, f"apply: {name}") for name in ("KeyError", "TypeError")]

    _reapply(*events)

    assert [(line.actor, line.action, line.entity) for line in _trail()] == [
        (BY, "inbox.reapplied", f"inbox:{event}") for event in events
    ]
    assert _trail()[1].before == {"state": "poison", "detail": "apply: TypeError"}
    assert _trail()[1].after == {"state": "new"}


def test_all_of_a_state_are_taken_oldest_first_and_no_more_than_asked_for(integration: Integration) -> None:
    poison = [an_event_aside(integration, InboxState.POISON) for _ in range(3)]
    unreadable = an_event_aside(integration, InboxState.UNREADABLE)

    first, then, none = (_reapply_all(InboxState.POISON, 2) for _ in range(3))

    assert (first, then, none) == (poison[:2], poison[2:], [])
    assert get_inbox_event(unreadable).state == InboxState.UNREADABLE


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (InboxState.CONFLICT, "conflict"),
        (InboxState.APPLIED, "already_applied"),
        (InboxState.NEW, "already_new"),
    ],
)
def test_what_must_not_or_need_not_be_applied_again_is_refused_whole(
    integration: Integration, state: InboxState, code: str
) -> None:
    good, bad = an_event_aside(integration, InboxState.POISON), an_event_aside(integration, state)

    with pytest.raises(Refused) as one:
        _reapply(good, bad)
    with pytest.raises(Refused) as all_of_them:
        _reapply_all(state)

    assert one.value.code == all_of_them.value.code == code
    assert f"event {bad}" in str(one.value)
    assert [get_inbox_event(event).state for event in (good, bad)] == [InboxState.POISON, state]
    assert _trail() == []


def test_an_event_that_nobody_knows_is_refused(integration: Integration) -> None:
    event = an_event_aside(integration, InboxState.POISON)

    with pytest.raises(Refused) as refused:
        _reapply(event, 4711)

    assert (refused.value.code, "4711" in str(refused.value)) == ("unknown_event", True)
    assert get_inbox_event(event).state == InboxState.POISON


def test_of_two_who_name_the_same_at_once_one_is_told_that_they_are_new(integration: Integration) -> None:
    events = [an_event_aside(integration, InboxState.POISON) for _ in range(20)]

    def code(ids: list[int]) -> str:
        try:
            _reapply(*ids)
        except Refused as refused:
            return refused.code
        return "done"

    codes = at_once(lambda: code(events), lambda: code(events[::-1]))

    assert sorted(codes) == ["already_new", "done"]
    assert len(_trail()) == len(events)


def test_two_who_reapply_the_same_at_once_do_it_once(integration: Integration) -> None:
    events = [an_event_aside(integration, InboxState.POISON) for _ in range(20)]

    done = at_once(*[lambda: _reapply_all(InboxState.POISON, 20)] * 3)

    assert sorted(event for each in done for event in each) == events
    assert len(_trail()) == len(events)
