import pytest
from sqlalchemy import text

from models.database import transaction
from models.lifecycle import PayoutStatus
from payouts.payload import as_shown
from payouts.timeline import Timeline, timeline
from tests.factories import a_payout, an_endpoint, get_deliveries, get_payout, say

pytestmark = pytest.mark.usefixtures("database")


def seen(payout_id: str) -> Timeline:
    with transaction() as session:
        found = timeline(session, payout_id)
    assert found is not None
    return found


def test_it_tells_what_was_said_what_changed_and_who_was_told() -> None:
    an_endpoint("https://hooks.example/in?token=very-secret")
    payout = a_payout(status=PayoutStatus.DELIVERED)
    say(payout, PayoutStatus.BROADCAST)

    found = seen(payout.id)

    assert [(said.status, said.effect) for said in found.observations] == [
        ("delivered", "advanced"),
        ("broadcast", "stale"),
    ]
    assert [event.status for event in found.events] == ["pending", "delivered"]
    assert [(delivery.sequence, delivery.state) for delivery in found.deliveries] == [(1, "open"), (2, "open")]


def test_attempts_stand_with_their_delivery_in_order() -> None:
    an_endpoint()
    payout = a_payout()
    (delivery,) = get_deliveries(payout)
    with transaction() as session:
        for number in (1, 2):
            session.connection().execute(
                text(
                    "INSERT INTO attempt (delivery_id, number, started_at, duration_ms, outcome, status_code)"
                    " VALUES (:id, :number, now(), 5, 'refused', 503)"
                ),
                {"id": delivery.id, "number": number},
            )

    (owed,) = seen(payout.id).deliveries

    assert [(attempt.number, attempt.status_code) for attempt in owed.attempts] == [(1, 503), (2, 503)]


def test_a_partners_secrets_in_its_url_stay_out() -> None:
    an_endpoint("https://name:password@hooks.example/in/very-secret?token=very-secret")
    payout = a_payout()

    document = str(seen(payout.id).document())

    assert "hooks.example" in document
    assert "very-secret" not in document
    assert "password" not in document


def test_a_document_holds_decimal_text_and_utc_times() -> None:
    payout = a_payout(amount_minor=123_456)

    document = seen(payout.id).document()

    assert document["payout"]["amount"] == "1234.56"
    assert document["payout"]["created_at"].endswith("Z")
    assert document["events"][0]["created_at"].endswith("Z")


@pytest.mark.parametrize("payout_id", ["pay_unknown", "", "\x00"])
def test_there_is_none_of_an_unknown_payout(payout_id: str) -> None:
    with transaction() as session:
        assert timeline(session, payout_id) is None


@pytest.mark.parametrize("status", list(PayoutStatus))
def test_a_failure_is_told_here_where_partners_are_told_of_it(status: PayoutStatus) -> None:
    payout = a_payout()
    say(payout, status, failure_code="closed", failure_message="Closed.")
    shown = as_shown(get_payout(payout.id))["failure"] or {"code": None, "message": None}

    facts = seen(payout.id).payout

    assert (facts.failure_code, facts.failure_message) == (shown["code"], shown["message"])
