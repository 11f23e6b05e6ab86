import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from models.database import transaction
from models.lifecycle import PayoutStatus
from payouts.payload import event_payload, rfc3339
from payouts.standing import Standing, lock
from tests.factories import a_payout

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)


def _standing(**changes: Any) -> Standing:
    payout = a_payout(order_key="k-1", reference="gw-1")
    with transaction() as session:
        (standing,) = lock(session, [payout.id])
    return replace(standing, **{"created_at": NOW, **changes})


def _payload(previous: PayoutStatus | None = None, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(event_payload(_standing(**changes), previous, NOW))
    return body


def test_a_payload_has_this_shape_and_nothing_else(database: None) -> None:
    standing = _standing(status=PayoutStatus.BROADCAST, sequence=2)

    body = json.loads(event_payload(standing, PayoutStatus.PENDING, NOW))

    assert body == {
        "type": "payout.broadcast",
        "timestamp": "2026-05-12T09:15:00Z",
        "data": {
            "id": standing.id,
            "reference": "k-1",
            "status": "broadcast",
            "amount": "100.00",
            "currency": "EUR",
            "processed_amount": None,
            "costs": None,
            "mode": None,
            "scheduled_at": None,
            "estimated_delivery_at": None,
            "tracking_url": f"http://127.0.0.1:8402/track/{standing.tracking_token}",
            "failure": None,
            "metadata": {},
            "test_mode": False,
            "created_at": "2026-05-12T09:15:00Z",
            "previous_status": "pending",
            "sequence": 2,
        },
    }


@pytest.mark.parametrize("status", list(PayoutStatus))
def test_every_status_has_an_event_type(database: None, status: PayoutStatus) -> None:
    body = _payload(status=status)

    assert (body["type"], body["data"]["status"]) == (f"payout.{status}", status)
    assert body["data"]["previous_status"] is None


@pytest.mark.parametrize(
    ("amount_minor", "currency", "written"),
    [(250_000, "EUR", "2500.00"), (2_000, "XOF", "2000"), (1, "KWD", "0.001"), (10**18, "EUR", "10000000000000000.00")],
)
def test_amounts_are_texts_that_hold_every_digit(
    database: None, amount_minor: int, currency: str, written: str
) -> None:
    data = _payload(amount_minor=amount_minor, currency=currency, processed_amount_minor=amount_minor)["data"]

    assert (data["amount"], data["processed_amount"], data["currency"]) == (written, written, currency)
    assert Decimal(data["amount"]).is_finite()


def test_nothing_arrived_is_not_the_same_as_not_known(database: None) -> None:
    assert _payload(processed_amount_minor=0)["data"]["processed_amount"] == "0.00"
    assert _payload(processed_amount_minor=None)["data"]["processed_amount"] is None


def test_the_timestamp_is_the_gateways_where_it_gave_one(database: None) -> None:
    earlier = NOW - timedelta(hours=1)

    assert _payload(occurred_at=earlier)["timestamp"] == "2026-05-12T08:15:00Z"
    assert _payload(occurred_at=None)["timestamp"] == "2026-05-12T09:15:00Z"


def test_a_failure_has_a_code_and_perhaps_a_message(database: None) -> None:
    failure = {"failure_code": "closed", "failure_message": "Closed « in May »."}
    failed = PayoutStatus.FAILED

    assert _payload(status=failed, **failure)["data"]["failure"] == {"code": "closed", "message": "Closed « in May »."}
    assert _payload(status=failed, failure_code="closed")["data"]["failure"] == {"code": "closed", "message": None}
    assert _payload(status=failed, failure_code=None)["data"]["failure"] is None


@pytest.mark.parametrize("status", list(PayoutStatus))
def test_a_failure_is_told_of_what_fell_through_and_of_nothing_else(database: None, status: PayoutStatus) -> None:
    fell_through = status in {PayoutStatus.FAILED, PayoutStatus.CANCELED, PayoutStatus.RETURNED}

    told = _payload(status=status, failure_code="closed")["data"]["failure"]

    assert told == ({"code": "closed", "message": None} if fell_through else None)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (NOW, "2026-05-12T09:15:00Z"),
        (NOW.astimezone(timezone(timedelta(hours=5, minutes=45))), "2026-05-12T09:15:00Z"),
        (NOW.replace(microsecond=120_000), "2026-05-12T09:15:00.120000Z"),
        (None, None),
    ],
)
def test_times_are_rfc_3339_in_utc(moment: datetime | None, written: str | None) -> None:
    assert rfc3339(moment) == written


def test_a_partner_never_reads_what_is_between_us_and_the_gateway(database: None) -> None:
    text = event_payload(_standing(poll_failure="unavailable", dispute="amount_differs", is_disputed=True), None, NOW)

    assert not any(word in text for word in ("gw-1", "unavailable", "amount_differs", "submission", "poll"))


def test_what_its_partner_has_given_it_comes_back(database: None) -> None:
    body = _payload(
        partner_reference="invoice 7",
        partner_metadata={"batch": "b1"},
        mode="mobile_money",
        scheduled_at=NOW,
        costs={"fees": 120},
    )["data"]

    assert (body["reference"], body["metadata"], body["mode"]) == ("invoice 7", {"batch": "b1"}, "mobile_money")
    assert body["scheduled_at"] == "2026-05-12T09:15:00Z"
    assert body["costs"] == {
        "fees": "1.20",
        "commission": None,
        "amount_transferred": None,
        "amount_debited": None,
    }


def test_one_without_a_name_of_its_partners_has_none(database: None) -> None:
    standing = _standing()

    assert _payload(id=standing.id, order_key=standing.id)["data"]["reference"] is None
