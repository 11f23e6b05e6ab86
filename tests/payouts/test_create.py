import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, func, select

from connectors.paycore import PayCore
from models.database import transaction
from models.inbox import InboxState
from models.lifecycle import PayoutStatus
from models.payout import Payout, SubmissionState
from models.sealed import unseal
from payouts.create import Created, NewPayout, Refused, create
from tests.concurrency import at_once
from tests.factories import (
    a_balance,
    a_payout,
    an_endpoint,
    an_inbox_event,
    an_integration,
    an_organisation,
    get_balance,
    get_deliveries,
    get_events,
    get_inbox_event,
    get_payout,
)

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)


def _new(slug: str, **changes: Any) -> NewPayout:
    wanted = {"integration": slug, "organisation": "Acme", "order_key": "k-1", "amount_minor": 2_000, "currency": "XOF"}
    return NewPayout(**{**wanted, **changes})


def _create(new: NewPayout) -> Created:
    with transaction() as session:
        return create(session, new, NOW)


def _number_of_payouts() -> int:
    with transaction() as session:
        return session.exec(select(func.count(col(Payout.id)))).one()


def test_a_new_payout_is_pending_unsent_and_has_a_next_poll(database: None) -> None:
    an_organisation()
    integration = an_integration(slug="main")

    created = _create(_new("main", description="May run"))

    payout = get_payout(created.id)
    assert payout.id.startswith("pay_")
    assert (payout.integration_id, payout.order_key, payout.description) == (integration.id, "k-1", "May run")
    assert (payout.amount_minor, payout.currency) == (2_000, "XOF")
    assert (payout.status, payout.submission, payout.epoch) == (PayoutStatus.PENDING, SubmissionState.UNSENT, 1)
    assert (payout.created_at, payout.advanced_at, payout.submitted_at) == (NOW, NOW, None)
    assert payout.next_poll_at is not None
    assert NOW < payout.next_poll_at < NOW + timedelta(minutes=3)


def test_a_payout_that_the_gateway_has_already_is_accepted(database: None) -> None:
    an_organisation()
    an_integration(slug="main")

    created = _create(_new("main", reference="gw-1"))

    payout = get_payout(created.id)
    assert (payout.submission, payout.gateway_reference) == (SubmissionState.ACCEPTED, "gw-1")


def test_a_birth_is_the_first_event_and_is_owed_to_the_partner(database: None) -> None:
    endpoint = an_endpoint()
    an_integration(slug="main")

    created = _create(_new("main"))

    (event,) = get_events(get_payout(created.id))
    (delivery,) = get_deliveries(get_payout(created.id))
    assert (event.sequence, event.previous_status, event.status) == (1, None, "pending")
    assert json.loads(event.payload)["type"] == "payout.pending"
    assert created.deliveries == [delivery.id]
    assert (delivery.endpoint_id, delivery.event_id) == (endpoint.id, event.id)


def test_nobody_can_guess_the_id_of_what_is_owed(database: None) -> None:
    """Its last 16 digits are 64 random bits, as in every id of ours: no digit of them keeps to a few values."""
    for number in range(100):
        an_endpoint(f"http://127.0.0.1:9/{number}")
    an_integration(slug="main")

    created = _create(_new("main"))

    assert all(re.fullmatch("dlv_[0-9a-f]{28}", delivery) for delivery in created.deliveries)
    guesses = zip(*(delivery[-16:] for delivery in created.deliveries), strict=True)
    assert min(len(set(digits)) for digits in guesses) > 8


def test_what_the_gateway_needs_beyond_the_amount_is_sealed(database: None) -> None:
    an_organisation()
    an_integration(slug="main")
    details = {"fields": {"iban": "DE02120300000000202051"}}

    created = _create(_new("main", details=details))

    sealed = get_payout(created.id).details
    assert sealed is not None
    assert b"DE02" not in sealed
    assert unseal(sealed) == details


@pytest.mark.parametrize(
    ("integration", "code"),
    [
        ({"is_active": False, "payouts_enabled": False, "webhook_secrets": ()}, "integration_inactive"),
        ({"payouts_enabled": False, "webhook_secrets": ()}, "payouts_disabled"),
        ({"webhook_secrets": ()}, "webhook_secret_missing"),
        ({"webhook_secrets": ("", " ")}, "webhook_secret_missing"),
    ],
)
def test_the_first_guard_that_fails_refuses(database: None, integration: dict[str, Any], code: str) -> None:
    an_organisation()
    an_integration(slug="main", **integration)

    with pytest.raises(Refused) as refused:
        _create(_new("main"))

    assert refused.value.code == code
    assert "main" in str(refused.value)
    assert _number_of_payouts() == 0


def test_a_connector_that_only_listens_creates_no_payouts(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PayCore, "SUPPORTS_PAYOUTS", False)
    an_organisation()
    an_integration(slug="main", webhook_secrets=())

    with pytest.raises(Refused) as refused:
        _create(_new("main"))

    assert refused.value.code == "payouts_unsupported"


def test_a_connector_with_a_pinned_key_needs_no_webhook_secret(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PayCore, "REQUIRES_WEBHOOK_SECRET", False)
    an_organisation()
    an_integration(slug="main", webhook_secrets=())

    created = _create(_new("main"))

    assert get_payout(created.id).submission == SubmissionState.UNSENT


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"integration": "nobody"}, "unknown_integration"), ({"organisation": "Nobody"}, "unknown_organisation")],
)
def test_what_nobody_knows_is_refused(database: None, changes: dict[str, str], code: str) -> None:
    an_organisation()
    an_integration(slug="main")

    with pytest.raises(Refused) as refused:
        _create(_new("main", **changes))

    assert refused.value.code == code


@pytest.mark.parametrize("changes", [{"order_key": "k-1"}, {"order_key": "k-2", "reference": "gw-1"}])
def test_an_order_key_or_reference_is_used_once_per_integration(database: None, changes: dict[str, str]) -> None:
    an_organisation()
    an_integration(slug="main")
    an_integration(slug="other")
    _create(_new("main", reference="gw-1"))

    with pytest.raises(Refused) as refused:
        _create(_new("main", **changes))
    elsewhere = _create(_new("other", **changes))

    assert refused.value.code == "payout_exists"
    assert get_payout(elsewhere.id).order_key == changes["order_key"]


def test_a_refusal_leaves_the_callers_transaction_usable(database: None) -> None:
    an_organisation()
    an_integration(slug="main")
    _create(_new("main"))

    with transaction() as session:
        with pytest.raises(Refused):
            create(session, _new("main"), NOW)
        created = create(session, _new("main", order_key="k-2"), NOW)

    assert get_payout(created.id).order_key == "k-2"
    assert _number_of_payouts() == 2


def test_a_payout_that_its_balance_cannot_pay_leaves_nothing_where_the_callers_transaction_goes_on(
    database: None,
) -> None:
    an_endpoint()
    waits = an_inbox_event(an_integration(slug="main"), b"{}", state=InboxState.UNMATCHED, order_key="k-1")
    balance = a_balance(1_999, currency="XOF")
    before = _everything_written()

    with transaction() as session:
        with pytest.raises(Refused, match="1999 XOF available"):
            create(session, _new("main"), NOW)
        goes_on = create(session, _new("main", order_key="k-2", amount_minor=1_999), NOW)

    assert get_inbox_event(waits).state == InboxState.UNMATCHED
    assert get_balance(balance.id).held_minor == 1_999
    assert {table: number - before[table] for table, number in _everything_written().items()} == {
        "payout": 1,
        "payout_event": 1,
        "delivery": 1,
        "audit": 1,
        "ledger_entry": 2,
    }
    assert get_payout(goes_on.id).order_key == "k-2"


def _everything_written() -> dict[str, int]:
    tables = ("payout", "payout_event", "delivery", "audit", "ledger_entry")
    with transaction() as session:
        return {
            table: session.connection().execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 (ours)
            for table in tables
        }


def test_a_row_that_is_wrong_is_not_taken_for_one_that_exists(database: None) -> None:
    an_organisation()
    an_integration(slug="main")

    with pytest.raises(DBAPIError):
        _create(_new("main", amount_minor=-1))

    assert _number_of_payouts() == 0


def test_of_two_that_create_the_same_payout_at_once_one_is_refused(database: None) -> None:
    an_endpoint()
    an_integration(slug="main")

    def attempt() -> str:
        try:
            return _create(_new("main")).id
        except Refused as refused:
            return refused.code

    outcomes = at_once(attempt, attempt, attempt)

    assert sorted(outcomes)[1:] == ["payout_exists"] * 2
    assert _number_of_payouts() == 1
    assert len(get_deliveries(get_payout(min(outcomes)))) == 1


@pytest.mark.parametrize(
    ("names", "released"),
    [({"reference": "gw-1"}, True), ({"order_key": "k-1"}, True), ({"reference": "gw-2", "order_key": "k-2"}, False)],
)
def test_events_that_waited_for_the_payout_are_released(
    database: None, names: dict[str, str], *, released: bool
) -> None:
    an_organisation()
    integration = an_integration(slug="main")
    event = an_inbox_event(integration, b"{}", state=InboxState.UNMATCHED, **names)

    created = _create(_new("main", reference="gw-1"))

    assert created.released == ([event] if released else [])
    assert get_inbox_event(event).state == (InboxState.NEW if released else InboxState.UNMATCHED)


def test_a_payout_for_the_same_amount_is_another_payout(database: None) -> None:
    integration = an_integration()

    first, second = a_payout(integration), a_payout(integration)

    assert first.id != second.id
    assert _number_of_payouts() == 2
