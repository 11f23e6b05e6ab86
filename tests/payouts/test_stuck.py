from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models.database import transaction
from models.lifecycle import IN_FLIGHT, PayoutStatus
from models.payout import Source, SubmissionState
from payouts.reasons import StuckReason
from tests.factories import a_payout, an_integration, say
from tests.payouts.silent import a_silent_payout, change, stuck

pytestmark = pytest.mark.usefixtures("database")

MONTH = timedelta(days=30)


def reasons() -> list[StuckReason]:
    return [payout.reason for payout in stuck().stuck]


def test_nothing_is_stuck_where_there_is_nothing() -> None:
    report = stuck()

    assert (report.total, report.stuck, report.by_reason) == (0, (), {})


def test_a_payout_is_stuck_once_it_is_silent_for_longer_than_its_gateway_takes() -> None:
    fedapay = an_integration("fedapay")
    a_silent_payout(fedapay, timedelta(minutes=59))
    late = a_silent_payout(fedapay, timedelta(minutes=61))

    (found,) = stuck().stuck

    assert found.id == late
    assert found.threshold == timedelta(hours=1)
    assert timedelta(minutes=61) <= found.age < timedelta(minutes=62)


def test_every_status_has_a_threshold_of_its_own() -> None:
    mollie = an_integration("mollie")
    for status in IN_FLIGHT:
        a_silent_payout(mollie, timedelta(days=2), status=status)

    assert [payout.status for payout in stuck().stuck] == [PayoutStatus.INITIATED]


def test_an_integration_may_have_thresholds_of_its_own() -> None:
    patient = an_integration("fedapay", options={"silence_hours": {"pending": 12.5}})
    impatient = an_integration("mollie", options={"silence_hours": {"pending": 1}})
    a_silent_payout(patient, timedelta(hours=12))
    late = a_silent_payout(impatient, timedelta(hours=2))

    assert [payout.id for payout in stuck().stuck] == [late]


@pytest.mark.parametrize(
    "silence_hours",
    [None, 12, "12", [], {"pending": "12"}, {"pending": -1}, {"pending": 0}, {"pending": True}, {"pending": 1e12},
     {"pending": None}, {"delivered": 1}, {"nonsense": 1}],
)  # fmt: skip
def test_an_unusable_threshold_is_ignored(silence_hours: object) -> None:
    odd = an_integration("fedapay", options={"silence_hours": silence_hours})
    late = a_silent_payout(odd, timedelta(hours=2))

    assert [payout.id for payout in stuck().stuck] == [late]


def test_evidence_without_an_advance_does_not_end_the_silence() -> None:
    payout = a_payout(an_integration("mollie"), status=PayoutStatus.INITIATED)
    with transaction() as session:
        session.connection().execute(
            text("UPDATE payout SET advanced_at = now() - interval '2 days', quiet_since = now() - interval '2 days'")
        )
    say(payout, PayoutStatus.INITIATED, source=Source.POLL)

    assert reasons() == [StuckReason.GATEWAY_SLOW]


def test_what_only_seems_quiet_to_the_index_is_not_stuck() -> None:
    a_payout(an_integration("mollie"))
    with transaction() as session:
        session.connection().execute(text("UPDATE payout SET quiet_since = now() - interval '2 days'"))

    assert stuck().total == 0


def test_an_advance_ends_it() -> None:
    payout = a_payout(an_integration("mollie"), advanced_at=datetime.now(UTC) - MONTH)
    assert stuck().total == 1

    say(payout, PayoutStatus.INITIATED)

    assert stuck().total == 0


def test_settled_payouts_are_not_stuck_however_old() -> None:
    for status in (PayoutStatus.DELIVERED, PayoutStatus.FAILED, PayoutStatus.RETURNED):
        a_silent_payout(status=status)

    assert stuck().total == 0


@pytest.mark.parametrize("status", list(PayoutStatus))
def test_a_disputed_payout_is_stuck_in_any_status_at_once(status: PayoutStatus) -> None:
    a_payout(status=status, is_disputed=True)

    (found,) = stuck().stuck

    assert (found.reason, found.status) == (StuckReason.DISPUTED, status)


@pytest.mark.parametrize("submission", [SubmissionState.SENDING, SubmissionState.UNKNOWN])
def test_a_lost_answer_is_told_after_a_quarter_of_an_hour(submission: SubmissionState) -> None:
    now = datetime.now(UTC)
    for minutes in (14, 16):
        submitted_at = now - timedelta(minutes=minutes)
        a_payout(reference=None, order_key=f"{minutes} min", submission=submission, submitted_at=submitted_at)

    (found,) = stuck().stuck

    assert (found.order_key, found.reason) == ("16 min", StuckReason.SUBMISSION_UNKNOWN)
    assert found.threshold == timedelta(minutes=15)


def test_what_the_gateway_never_received_is_told_at_once() -> None:
    a_payout(reference=None, submission=SubmissionState.NOT_RECEIVED)

    assert reasons() == [StuckReason.NOT_RECEIVED]


def test_a_lost_answer_about_a_payout_that_has_settled_since_is_no_longer_told() -> None:
    a_payout(
        status=PayoutStatus.DELIVERED,
        submission=SubmissionState.UNKNOWN,
        submitted_at=datetime.now(UTC) - MONTH,
    )

    assert stuck().total == 0


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"poll_failures": 3, "last_evidence_source": None}, StuckReason.POLLS_FAILING),
        ({"poll_failures": 2}, StuckReason.GATEWAY_SLOW),
        ({"last_evidence_source": None}, StuckReason.GATEWAY_SILENT),
        ({"last_evidence_source": "submission"}, StuckReason.GATEWAY_SILENT),
        ({"last_evidence_source": "webhook"}, StuckReason.GATEWAY_SLOW),
        ({"last_evidence_source": "poll"}, StuckReason.GATEWAY_SLOW),
        ({"submission": "unsent", "last_evidence_source": None}, StuckReason.UNSENT),
        ({"submission": "unsent", "last_evidence_source": None, "poll_failures": 3}, StuckReason.UNSENT),
    ],
)
def test_the_reason_says_what_stands_in_the_way(columns: dict[str, Any], reason: StuckReason) -> None:
    a_silent_payout(**columns)

    assert reasons() == [reason]


def test_where_several_reasons_hold_the_one_to_settle_first_is_told() -> None:
    payout = a_silent_payout(
        an_integration("mollie", slug="deaf"),
        is_disputed=True,
        submission=SubmissionState.UNKNOWN,
        submitted_at=datetime.now(UTC) - MONTH,
        poll_failures=9,
        last_evidence_source=None,
    )
    change("UPDATE integration SET is_active = false, has_webhook_secret = false")
    mendings = [
        "UPDATE payout SET is_disputed = false",
        "UPDATE payout SET submission = 'not_received'",
        "UPDATE payout SET submission = 'unsent', poll_failure = 'parked'",
        "UPDATE integration SET is_active = true",
        "UPDATE payout SET poll_failure = NULL",
        "UPDATE payout SET submission = 'accepted'",
        "UPDATE integration SET has_webhook_secret = true",
        "UPDATE payout SET poll_failures = 0",
        "UPDATE payout SET last_evidence_source = 'poll'",
    ]

    told = [(stuck().stuck[0].id, *reasons())]
    for mending in mendings:
        change(mending)
        told.append((payout, *reasons()))

    assert told == [(payout, reason) for reason in StuckReason]


def test_the_report_is_found_by_indexes_alone() -> None:
    with transaction() as session:
        connection = session.connection()
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = str(
            connection.execute(
                text(
                    "EXPLAIN SELECT FROM payout p WHERE p.is_disputed"
                    " OR p.quiet_since < now() AND p.status IN ('broadcast', 'initiated', 'pending', 'scheduled')"
                    " OR p.submission IN ('sending', 'unknown', 'not_received')"
                )
            ).all()
        )

    assert all(index in plan for index in ("ix_payout_disputed", "ix_payout_quiet", "ix_payout_unconfirmed"))
