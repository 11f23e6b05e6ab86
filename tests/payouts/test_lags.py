from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from models.database import transaction
from models.inbox import InboxState
from models.lifecycle import PayoutStatus
from payouts.lags import read_lags
from settings import settings
from tests.factories import a_payout, an_endpoint, an_inbox_event, an_integration, say

pytestmark = pytest.mark.usefixtures("database")


def scraped(name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    read_lags(registry)
    return registry.get_sample_value(name, labels)


def change(statement: str) -> None:
    with transaction() as session:
        session.connection().execute(text(statement))


def test_every_lag_is_zero_while_nothing_waits() -> None:
    names = ("ratchet_inbox_lag_seconds", "ratchet_inbox_waiting", "ratchet_outbox_lag_seconds")

    assert [scraped(name) for name in names] == [0, 0, 0]
    assert scraped("ratchet_apply_lag_seconds", quantile="0.99") == 0


def test_the_inbox_lag_is_the_age_of_the_oldest_event_that_is_not_applied() -> None:
    integration = an_integration()
    an_inbox_event(integration, b"1", state=InboxState.APPLIED)
    an_inbox_event(integration, b"2")
    an_inbox_event(integration, b"3")
    change("UPDATE inbox_new SET received_at = now() - event_id * interval '1 hour'")

    assert scraped("ratchet_inbox_lag_seconds") == pytest.approx(3 * 3600, abs=60)
    assert scraped("ratchet_inbox_waiting") == 2


HEARD = """
    INSERT INTO observation (payout_id, epoch, source, inbox_event_id, said, effect, recorded_at)
    SELECT 'pay_1', 1, 'webhook', id, 'processed', 'advanced',
"""


def test_the_apply_lag_is_the_time_from_our_door_to_applied() -> None:
    integration = an_integration()
    for number in range(3):
        an_inbox_event(integration, b"%d" % number, state=InboxState.APPLIED)
    change(f"{HEARD} received_at + id * interval '2 seconds' FROM inbox_event")

    assert scraped("ratchet_apply_lag_seconds", quantile="0.5") == pytest.approx(4)
    assert scraped("ratchet_apply_lag_seconds", quantile="0.99") == pytest.approx(6)


def test_an_applier_whose_clock_is_behind_has_no_negative_lag() -> None:
    an_inbox_event(an_integration(), b"1", state=InboxState.APPLIED)
    change(f"{HEARD} received_at - interval '1 second' FROM inbox_event")

    assert scraped("ratchet_apply_lag_seconds", quantile="0.5") == 0


def test_the_outbox_lag_counts_deliveries_that_may_go_and_not_those_behind_them() -> None:
    an_endpoint()
    say(a_payout(), PayoutStatus.INITIATED)
    change("UPDATE delivery SET next_attempt_at = now() - interval '10 minutes'")
    assert scraped("ratchet_outbox_lag_seconds") == pytest.approx(600, abs=60)

    change("UPDATE delivery SET next_attempt_at = now() + interval '1 hour' WHERE sequence = 1")

    assert scraped("ratchet_outbox_lag_seconds") == 0


def test_only_states_that_wait_for_a_person_are_told() -> None:
    integration = an_integration()
    an_inbox_event(integration, b"1", state=InboxState.POISON)
    an_inbox_event(integration, b"2", state=InboxState.APPLIED)

    assert scraped("ratchet_inbox_events", state="poison") == 1
    assert scraped("ratchet_inbox_events", state="conflict") == 0
    assert scraped("ratchet_inbox_events", state="applied") is None


def test_stuck_payouts_are_told_by_reason_and_gateway() -> None:
    mollie = an_integration("mollie")
    for currency in ("EUR", "USD"):
        a_payout(mollie, currency=currency, is_disputed=True)

    assert scraped("ratchet_stuck_payouts", reason="disputed", gateway="mollie") == 2


def test_integrations_without_a_secret_are_counted() -> None:
    an_integration(webhook_secrets=())

    assert scraped("ratchet_integrations_without_secret") == 1


def test_a_scrape_leaves_nothing_in_the_files_that_processes_share() -> None:
    read_lags(CollectorRegistry())

    assert not list(Path(settings().home, "metrics").glob("gauge_*"))
