"""Kill switches: what they hold and what they leave alone, and that nothing leaves once one is thrown."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, SubmissionState
from models.switch import Switch, SwitchScope
from payouts.ask import take_due
from payouts.create import NewPayout, create
from payouts.parking import PARKED, waiting
from payouts.reasons import StuckReason
from payouts.refused import Refused
from payouts.stuck import find_stuck
from payouts.submit import HandOver, begin
from payouts.switches import Thrown, history, holding, lift, throw
from tests.concurrency import at_once
from tests.factories import a_payout, an_integration, an_organisation, get_events, get_payout, say

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _throw(scope: SwitchScope = SwitchScope.EVERYTHING, target: str | None = None, **changes: Any) -> Thrown:
    wanted = {"reason": "the gateway pays twice", "by": "operator:ada", "until": None, "now": NOW}
    with transaction() as session:
        return throw(session, scope, target, **{**wanted, **changes})


def _lift(thrown: Thrown) -> int:
    with transaction() as session:
        return lift(session, thrown.switch.id, by="operator:bob", now=NOW + HOUR)[1]


def _create(now: datetime = NOW, **changes: Any) -> str:
    wanted = {"integration": "main", "organisation": "Acme", "order_key": "k-1", "amount_minor": 1, "currency": "EUR"}
    with transaction() as session:
        return create(session, NewPayout(**{**wanted, **changes}), now).id


def _begin(payout: Payout, now: datetime = NOW) -> HandOver | None:
    with transaction() as session:
        return begin(session, payout.id, now)


SCOPES = [
    (SwitchScope.EVERYTHING, None, True),
    (SwitchScope.GATEWAY, "paycore", True),
    (SwitchScope.GATEWAY, "mollie", False),
    (SwitchScope.INTEGRATION, "main", True),
    (SwitchScope.INTEGRATION, "other", False),
    (SwitchScope.CURRENCY, "EUR", True),
    (SwitchScope.CURRENCY, "eur", True),
    (SwitchScope.CURRENCY, "XOF", False),
    (SwitchScope.PARTNER, "Acme", True),
    (SwitchScope.PARTNER, "Bolt", False),
]


@pytest.mark.parametrize(("scope", "target", "holds"), SCOPES)
def test_a_switch_refuses_new_payouts_in_its_scope_and_no_others(
    scope: SwitchScope, target: str | None, *, holds: bool
) -> None:
    an_organisation("Acme"), an_organisation("Bolt")
    an_integration(slug="main"), an_integration(slug="other")
    _throw(scope, target)

    if not holds:
        assert _create()
        return
    with pytest.raises(Refused) as refused:
        _create()
    assert refused.value.code == "payouts_disabled"
    assert "twice" not in str(refused.value)


@pytest.mark.parametrize(("scope", "target", "holds"), SCOPES)
def test_a_switch_parks_what_has_not_left_in_its_scope_and_nothing_else(
    scope: SwitchScope, target: str | None, *, holds: bool
) -> None:
    an_organisation("Bolt"), an_integration(slug="other")
    payout = a_payout(an_integration(slug="main"), reference=None)

    thrown = _throw(scope, target)

    assert thrown.parked == (1 if holds else 0)
    assert (_begin(payout) is None) is holds
    left = get_payout(payout.id)
    assert left.submission == (SubmissionState.UNSENT if holds else SubmissionState.SENDING)
    assert (left.poll_failure == PARKED) is holds


def test_a_partner_may_be_named_by_its_id() -> None:
    acme = an_organisation("Acme")

    assert _throw(SwitchScope.PARTNER, acme.id).switch.target == acme.id
    assert _throw(SwitchScope.PARTNER, "Acme").switch.target == acme.id


def test_a_switch_ends_by_itself() -> None:
    an_organisation(), an_integration(slug="main")
    payout = a_payout(an_integration(), reference=None)
    _throw(until=NOW + HOUR)

    _begin(payout)
    parked = get_payout(payout.id)
    with pytest.raises(Refused, match="until 2026-05-12 10:15Z"):
        _create(NOW + HOUR - timedelta(seconds=1))

    assert _create(NOW + HOUR)
    assert parked.next_poll_at is not None
    assert NOW + HOUR <= parked.next_poll_at <= NOW + HOUR + timedelta(seconds=30)
    with transaction() as session:
        assert holding(session, NOW + HOUR) == []
        assert [switch.id for switch in history(session, 9)] == [switch.id for switch in holding(session, NOW)]
    assert _begin(payout, NOW + HOUR)
    assert get_payout(payout.id).poll_failure is None


def test_a_parked_payout_is_looked_at_rarely_and_takes_no_turn_from_those_in_flight() -> None:
    integration = an_integration()
    parked = a_payout(integration, reference=None)
    in_flight = a_payout(integration, next_poll_at=NOW)
    _throw()
    _begin(parked)

    with transaction() as session:
        due = take_due(session, NOW + timedelta(minutes=30), 10)

    assert due.to_submit == []
    assert due.to_ask == {integration.id: [in_flight.id]}


def test_webhooks_go_on_and_partners_are_told() -> None:
    payout = a_payout()
    _throw()

    say(payout, PayoutStatus.DELIVERED)

    assert get_payout(payout.id).status == PayoutStatus.DELIVERED
    assert [event.status for event in get_events(payout)] == ["pending", "delivered"]


def test_what_is_parked_is_listed_and_on_the_report() -> None:
    payout = a_payout(an_integration(slug="main"), reference=None, order_key="k-1")
    thrown, other = _throw(), _throw(SwitchScope.CURRENCY, "EUR")
    _begin(payout)

    with transaction() as session:
        (parked,) = waiting(session, [thrown.switch, other.switch], 10)
        session.connection().execute(
            text("UPDATE payout SET advanced_at = now() - interval '30 days', quiet_since = now() - interval '30 days'")
        )
    with transaction() as session:
        (stuck,) = find_stuck(session, datetime.now(UTC)).stuck

    assert (parked.id, parked.order_key, parked.integration, parked.organisation) == (payout.id, "k-1", "main", "Acme")
    assert (parked.amount_minor, parked.currency) == (10_000, "EUR")
    assert parked.switches == [thrown.switch.id, other.switch.id]
    assert stuck.reason == StuckReason.PARKED


def test_lifting_lets_at_once_what_was_parked_and_nothing_that_waits_for_a_later_day() -> None:
    integration = an_integration()
    parked = a_payout(integration, reference=None)
    tomorrow = NOW + timedelta(days=1)
    for_tomorrow = a_payout(integration, reference=None, next_poll_at=tomorrow)
    thrown = _throw()
    _begin(parked)

    woken = _lift(thrown)

    assert woken == 1
    assert get_payout(for_tomorrow.id).next_poll_at == tomorrow
    with transaction() as session:
        assert take_due(session, NOW + HOUR, 10).to_submit == [parked.id]
    assert _begin(parked)


def test_what_another_switch_holds_too_is_parked_again() -> None:
    payout = a_payout(reference=None)
    first, _ = _throw(), _throw(SwitchScope.CURRENCY, "EUR")
    _begin(payout)

    _lift(first)

    assert _begin(payout, NOW + HOUR) is None
    assert get_payout(payout.id).poll_failure == PARKED


def test_the_longest_of_several_decides_when_to_look_again() -> None:
    payout = a_payout(reference=None)
    _throw(until=NOW + HOUR)
    _throw(until=NOW + 3 * HOUR)

    _begin(payout)

    next_poll_at = get_payout(payout.id).next_poll_at
    assert next_poll_at is not None
    assert next_poll_at >= NOW + 3 * HOUR


def test_who_why_and_until_when_are_on_record() -> None:
    thrown = _throw(SwitchScope.CURRENCY, "EUR", reason="  the bank is away ", until=NOW + 2 * HOUR)
    _lift(thrown)

    with transaction() as session:
        (switch,) = session.exec(select(Switch))
        lines = session.exec(select(AuditLine).order_by(AuditLine.id)).all()
    assert (switch.thrown_by, switch.reason, switch.until) == ("operator:ada", "the bank is away", NOW + 2 * HOUR)
    assert (switch.lifted_by, switch.lifted_at) == ("operator:bob", NOW + HOUR)
    assert [(line.actor, line.action, line.entity) for line in lines] == [
        ("operator:ada", "switch.thrown", switch.id),
        ("operator:bob", "switch.lifted", switch.id),
    ]
    assert lines[0].after == lines[1].before
    assert lines[0].after == {
        "scope": "currency",
        "target": "EUR",
        "reason": "the bank is away",
        "until": "2026-05-12T11:15:00+00:00",
    }


@pytest.mark.parametrize(
    ("scope", "target", "changes", "code"),
    [
        (SwitchScope.EVERYTHING, None, {"reason": " "}, "reason_missing"),
        (SwitchScope.EVERYTHING, None, {"reason": "x" * 501}, "reason_missing"),
        (SwitchScope.EVERYTHING, None, {"until": NOW}, "already_over"),
        (SwitchScope.EVERYTHING, "mollie", {}, "target_not_wanted"),
        (SwitchScope.GATEWAY, None, {}, "target_missing"),
        (SwitchScope.GATEWAY, "molie", {}, "unknown_target"),
        (SwitchScope.INTEGRATION, "nowhere", {}, "unknown_target"),
        (SwitchScope.CURRENCY, "EUX", {}, "unknown_target"),
        (SwitchScope.PARTNER, "Nobody", {}, "unknown_target"),
    ],
)
def test_a_switch_that_would_stop_nothing_or_says_not_why_is_refused(
    scope: SwitchScope, target: str | None, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        _throw(scope, target, **changes)

    assert refused.value.code == code
    with transaction() as session:
        assert session.exec(select(Switch)).all() == []


def test_a_switch_is_lifted_once() -> None:
    thrown = _throw()
    _lift(thrown)

    with pytest.raises(Refused) as refused:
        _lift(thrown)
    assert refused.value.code == "already_lifted"
    with pytest.raises(Refused) as unknown, transaction() as session:
        lift(session, "swi_nothing", by="operator:bob", now=NOW)
    assert unknown.value.code == "unknown_switch"


def test_once_a_switch_is_thrown_nothing_leaves_that_it_has_not_named() -> None:
    integration = an_integration()
    payouts = [a_payout(integration, reference=None) for _ in range(60)]
    under_way = threading.Event()
    thrown: list[Thrown] = []

    def send(share: list[Payout]) -> None:
        for number, payout in enumerate(share):
            if number == 3:
                under_way.set()
            _begin(payout)

    def switch_off() -> None:
        under_way.wait(20)
        thrown.append(_throw())

    at_once(*[lambda share=payouts[n::3]: send(share) for n in range(3)], switch_off)  # type: ignore[misc]

    left = sorted(payout.id for payout in payouts if get_payout(payout.id).submission == SubmissionState.SENDING)
    assert 3 <= len(left) < 60
    assert sorted(thrown[0].on_their_way) == left
    assert thrown[0].parked == 60 - len(left)
