from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors._base import PayoutUpdate
from connectors.paycore import PayCore
from models import sealed
from models.database import transaction
from models.inbox import InboxState
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.payout import Payout
from payouts.apply import Applied, apply_events, set_poison_aside
from telemetry import logs
from tests.concurrency import at_once
from tests.connectors.samples import mollie, paycore
from tests.factories import (
    a_payout,
    an_endpoint,
    an_inbox_event,
    an_integration,
    get_deliveries,
    get_events,
    get_inbox_event,
    get_observations,
    get_payout,
)

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)


def _invoice(payout: Payout, status: str = "processed", **changes: Any) -> bytes:
    """Return PayCore's callback about a payout, in its true form."""
    about = {"amount": 100, "currency": "EUR", "reference_id": payout.order_key, "processed_amount": 100}
    resource = paycore.an_invoice(**{**about, "status": status, **changes})
    return paycore.a_callback(resource | {"id": payout.gateway_reference or "cpoi_new"})


def _apply(*ids: int) -> Applied:
    with transaction() as session:
        return apply_events(session, ids, NOW)


def _states(*ids: int) -> list[str]:
    return [get_inbox_event(event).state for event in ids]


def test_a_webhook_in_the_gateways_own_form_moves_its_payout(database: None) -> None:
    an_endpoint()
    integration = an_integration("paycore")
    payout = a_payout(integration)
    event = an_inbox_event(integration, _invoice(payout))

    applied = _apply(event)

    assert applied.outcomes == {InboxState.APPLIED: 1}
    assert applied.observed.advanced == 1
    assert len(applied.observed.deliveries) == 1
    assert get_payout(payout.id).status == PayoutStatus.DELIVERED
    assert get_payout(payout.id).processed_amount_minor == 10_000
    assert [observation.inbox_event_id for observation in get_observations(payout)] == [event]


def test_bad_events_are_set_aside_and_the_good_ones_of_their_batch_apply(
    database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    integration = an_integration("paycore")
    payouts = [a_payout(integration) for _ in range(3)]
    stranger = a_payout(an_integration("paycore"))
    _break_parse_for(monkeypatch, b"4711")
    good = [an_inbox_event(integration, _invoice(payout)) for payout in payouts]
    unreadable = an_inbox_event(integration, _invoice(payouts[0], "teleported"))
    no_json = an_inbox_event(integration, b"\xff{")
    unmatched = an_inbox_event(integration, _invoice(stranger))
    an_inbox_event(integration, _invoice(payouts[0], "pending"), event_key="same")
    conflict = an_inbox_event(integration, _invoice(payouts[0], "failed"), event_key="same")
    poison = an_inbox_event(integration, _invoice(payouts[1], "failed", fee=4711))
    other_subject = an_inbox_event(integration, paycore.SAMPLE.other_subject)

    applied = _apply(*good[:2], unreadable, no_json, unmatched, conflict, poison, other_subject, good[2])

    assert [get_payout(payout.id).status for payout in payouts] == [PayoutStatus.DELIVERED] * 3
    assert _states(*good, other_subject) == [InboxState.APPLIED] * 4
    assert _states(unreadable, no_json) == [InboxState.UNREADABLE] * 2
    assert _states(unmatched, conflict, poison) == [InboxState.UNMATCHED, InboxState.CONFLICT, InboxState.POISON]
    assert get_payout(stranger.id).status == PayoutStatus.PENDING
    assert applied.outcomes == {
        InboxState.APPLIED: 4,
        InboxState.UNREADABLE: 2,
        InboxState.UNMATCHED: 1,
        InboxState.CONFLICT: 1,
        InboxState.POISON: 1,
    }


def _break_parse_for(monkeypatch: pytest.MonkeyPatch, marker: bytes) -> None:
    parse: Callable[[PayCore, bytes], list[PayoutUpdate]] = PayCore.parse

    def broken(connector: PayCore, body: bytes) -> list[PayoutUpdate]:
        if marker in body:
            raise ZeroDivisionError(body.decode())
        return parse(connector, body)

    monkeypatch.setattr(PayCore, "parse", broken)


def test_why_an_event_was_set_aside_names_no_value_of_its_body(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    integration = an_integration("paycore")
    payout = a_payout(integration)
    _break_parse_for(monkeypatch, b"4711")
    unreadable = an_inbox_event(integration, _invoice(payout, "teleported"))
    poison = an_inbox_event(integration, _invoice(payout, fee=4711))

    with capture_logs([logs.frames_and_kinds]) as lines:
        _apply(unreadable, poison)

    assert get_inbox_event(unreadable).detail == "status is a word we do not know"
    assert get_inbox_event(poison).detail == "parse: ZeroDivisionError"
    assert [line["event"] for line in lines] == ["inbox.unreadable", "inbox.poison"]
    assert "in broken" in lines[1]["exception"]
    assert "4711" not in str(lines)
    assert "teleported" not in str(lines)


def test_the_first_body_under_an_event_key_counts_and_the_second_is_an_alarm(database: None) -> None:
    integration = an_integration("paycore")
    payout = a_payout(integration)
    first = an_inbox_event(integration, _invoice(payout, "pending"), event_key="same")
    second = an_inbox_event(integration, _invoice(payout, "failed"), event_key="same")

    _apply(second)
    _apply(first)

    assert _states(first, second) == [InboxState.APPLIED, InboxState.CONFLICT]
    assert get_payout(payout.id).status == PayoutStatus.BROADCAST


def test_the_same_event_key_at_another_integration_is_no_conflict(database: None) -> None:
    payouts = [a_payout(an_integration("paycore")) for _ in range(2)]
    events = [
        an_inbox_event(_integration_of(payout), _invoice(payout, fee=number), event_key="same")
        for number, payout in enumerate(payouts)
    ]

    _apply(*events)

    assert _states(*events) == [InboxState.APPLIED] * 2


def test_applying_again_does_nothing(database: None) -> None:
    an_endpoint()
    integration = an_integration("paycore")
    payout = a_payout(integration)
    event = an_inbox_event(integration, _invoice(payout))
    _apply(event)

    again = _apply(event)

    assert again.outcomes == {}
    assert (again.observed.advanced, again.observed.deliveries) == (0, [])
    assert len(get_observations(payout)) == 1
    assert len(get_deliveries(payout)) == 2


def test_one_id_named_twice_is_applied_once(database: None) -> None:
    integration = an_integration("paycore")
    payout = a_payout(integration)
    event = an_inbox_event(integration, _invoice(payout))

    _apply(event, event, 999_999)

    assert len(get_observations(payout)) == 1


def test_nothing_to_apply_is_nothing_done(database: None) -> None:
    assert _apply().outcomes == {}
    assert _apply(12345).outcomes == {}


def test_two_workers_with_the_same_events_apply_each_once(database: None) -> None:
    an_endpoint()
    integration = an_integration("paycore")
    payouts = [a_payout(integration) for _ in range(10)]
    words = ["created", "processing", "pending", "processed"]
    events = [an_inbox_event(integration, _invoice(payout, word)) for payout in payouts for word in words]

    both = at_once(lambda: _apply(*events), lambda: _apply(*reversed(events)), lambda: _apply(*events[::2]))

    assert sum(applied.outcomes.get(InboxState.APPLIED, 0) for applied in both) == 40
    assert _states(*events) == [InboxState.APPLIED] * 40
    assert [len(get_observations(payout)) for payout in payouts] == [4] * 10
    assert {get_payout(payout.id).status for payout in payouts} == {PayoutStatus.DELIVERED}
    for payout in payouts:
        sequences = [event.sequence for event in get_events(payout)]
        assert sequences == list(range(1, len(sequences) + 1)) == [d.sequence for d in get_deliveries(payout)]


def test_what_one_worker_is_applying_another_leaves_alone(database: None) -> None:
    integration = an_integration("paycore")
    payout = a_payout(integration)
    event = an_inbox_event(integration, _invoice(payout))

    with transaction() as session:
        first = apply_events(session, [event], NOW)
        second = _apply(event)

    assert (first.outcomes, second.outcomes) == ({InboxState.APPLIED: 1}, {})


def test_a_worker_that_dies_before_its_commit_leaves_the_event_new(database: None) -> None:
    integration = an_integration("paycore")
    payout = a_payout(integration)
    event = an_inbox_event(integration, _invoice(payout))

    _die_after_applying(event)

    assert _states(event) == [InboxState.NEW]
    assert get_payout(payout.id).status == PayoutStatus.PENDING
    assert _apply(event).outcomes == {InboxState.APPLIED: 1}


def _die_after_applying(event: int) -> None:
    with pytest.raises(KeyboardInterrupt), transaction() as session:  # noqa: PT012 (the death is the last statement)
        apply_events(session, [event], NOW)
        raise KeyboardInterrupt


def test_an_event_without_its_payout_waits_with_the_names_it_gave(database: None) -> None:
    integration = an_integration("mollie")
    event = an_inbox_event(integration, mollie.an_event(None, type="payout.completed", entityId="payout_1"))

    applied = _apply(event)

    kept = get_inbox_event(event)
    assert applied.outcomes == {InboxState.UNMATCHED: 1}
    assert (kept.state, kept.detail, kept.reference, kept.order_key) == (
        "unmatched",
        "payout_unknown",
        "payout_1",
        None,
    )


def test_an_unmatched_event_is_matched_once_its_payout_is_on_record(database: None) -> None:
    integration = an_integration("mollie")
    event = an_inbox_event(integration, mollie.an_event(None, type="payout.completed", entityId="payout_1"))
    _apply(event)

    payout = a_payout(integration, reference="payout_1")
    released = _states(event)
    applied = _apply(event)

    assert released == [InboxState.NEW]
    assert applied.outcomes == {InboxState.APPLIED: 1}
    assert get_payout(payout.id).status == PayoutStatus.DELIVERED
    assert get_inbox_event(event).detail is None


def test_an_event_that_names_only_our_order_key_is_matched_by_it(database: None) -> None:
    integration = an_integration("paycore")
    payout = a_payout(integration, reference=None)
    event = an_inbox_event(integration, _invoice(payout, "processing"))

    _apply(event)

    assert get_payout(payout.id).gateway_reference == "cpoi_new"
    assert get_payout(payout.id).status == PayoutStatus.INITIATED
    assert get_payout(payout.id).submission == "accepted"


def test_events_of_several_gateways_share_a_batch(database: None) -> None:
    by_paycore = a_payout(an_integration("paycore"))
    by_mollie = a_payout(an_integration("mollie"), reference="payout_1")
    body = mollie.an_event(None, type="payout.completed", entityId="payout_1")
    events = [
        an_inbox_event(_integration_of(by_paycore), _invoice(by_paycore)),
        an_inbox_event(_integration_of(by_mollie), body),
    ]

    _apply(*events)

    assert [get_payout(payout.id).status for payout in (by_paycore, by_mollie)] == [PayoutStatus.DELIVERED] * 2


def _integration_of(payout: Payout) -> Integration:
    with transaction() as session:
        found = session.get(Integration, payout.integration_id)
    assert found
    return found


def test_an_integration_that_cannot_be_opened_does_not_hold_up_the_others(database: None) -> None:
    integration, closed = an_integration("paycore"), an_integration("paycore")
    payout, behind = a_payout(integration), a_payout(closed)
    good = an_inbox_event(integration, _invoice(payout))
    waiting = an_inbox_event(closed, _invoice(behind))
    _reseal(closed, b"under a key that is gone")

    applied = _apply(waiting, good)

    assert applied.outcomes == {InboxState.APPLIED: 1}
    assert get_payout(payout.id).status == PayoutStatus.DELIVERED
    assert _states(waiting) == [InboxState.NEW]

    _reseal(closed, sealed.seal({"webhook_secrets": [], "credentials": {}}))

    assert _apply(waiting).outcomes == {InboxState.APPLIED: 1}


def _reseal(integration: Integration, as_bytes: bytes) -> None:
    with transaction() as session:
        row = session.get(Integration, integration.id)
        assert row
        row.sealed = as_bytes


def test_what_fails_on_our_side_is_set_aside_by_hand_once(database: None) -> None:
    integration = an_integration("paycore")
    payout = a_payout(integration)
    failing, applied = (an_inbox_event(integration, _invoice(payout, fee=number)) for number in range(2))
    _apply(applied)

    with transaction() as session:
        for event in (failing, applied):
            set_poison_aside(session, event, "apply: KeyError", NOW)

    assert _states(failing, applied) == [InboxState.POISON, InboxState.APPLIED]
    assert get_inbox_event(failing).detail == "apply: KeyError"
