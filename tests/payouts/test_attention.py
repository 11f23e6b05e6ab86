from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from models.database import transaction
from models.inbox import InboxState
from payouts.attention import Attention, read_attention
from tests.factories import a_payout, an_endpoint, an_inbox_event, an_integration

pytestmark = pytest.mark.usefixtures("database")


def attention() -> Attention:
    with transaction() as session:
        return read_attention(session, datetime.now(UTC))


def test_inbox_events_that_wait_for_a_person_are_counted_by_state() -> None:
    integration = an_integration()
    for state in (*InboxState, InboxState.POISON):
        event = an_inbox_event(integration, b"{}", state=state)
        age(event)

    counted = attention().inbox

    assert counted == {
        InboxState.UNMATCHED: 1,
        InboxState.UNREADABLE: 1,
        InboxState.CONFLICT: 1,
        InboxState.POISON: 2,
    }


def test_an_unmatched_event_may_wait_a_quarter_of_an_hour() -> None:
    an_inbox_event(an_integration(), b"{}", state=InboxState.UNMATCHED)

    assert attention().inbox_events == 0


def test_dead_deliveries_are_counted() -> None:
    an_endpoint()
    a_payout()
    with transaction() as session:
        session.connection().execute(text("UPDATE delivery SET state = 'dead', closed_at = now()"))

    assert attention().dead_deliveries == 1


def test_active_integrations_without_a_webhook_secret_are_named() -> None:
    an_integration(slug="deaf", webhook_secrets=())
    an_integration(slug="blank", webhook_secrets=("  ",))
    an_integration(slug="off", webhook_secrets=(), is_active=False)
    an_integration(slug="sound")

    assert attention().without_secret == ("blank", "deaf")


def test_integrations_whose_polls_are_paused_are_named_until_the_pause_is_over() -> None:
    now = datetime.now(UTC)
    an_integration(slug="paused", polls_paused_until=now + timedelta(minutes=5))
    an_integration(slug="over", polls_paused_until=now - timedelta(minutes=5))

    assert [slug for slug, _ in attention().paused] == ["paused"]


def age(event_id: int) -> None:
    with transaction() as session:
        session.connection().execute(
            text("UPDATE inbox_set_aside SET set_aside_at = set_aside_at - interval '16 minutes' WHERE event_id = :id"),
            {"id": event_id},
        )
