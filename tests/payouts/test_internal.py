"""The internal caller: the same attempt is one payout, another attempt waits until the one before cannot pay."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import col, func, select

from models.audit import AuditLine
from models.database import transaction
from models.internal_request import InternalRequest
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from models.sealed import unseal
from payouts.create import Refused
from payouts.internal import Answered, InternalOrder, create_once
from payouts.said_no import could_still_pay
from tests.concurrency import at_once
from tests.factories import a_payout, an_integration, an_organisation, get_payout, say

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)


def _order(**changes: Any) -> InternalOrder:
    wanted = {"gateway": "main", "tx_id": "tx-1", "attempt": 1, "amount_minor": 2_000, "currency": "XOF"}
    return InternalOrder(**{**wanted, **changes})


def _ask(**changes: Any) -> Answered:
    with transaction() as session:
        return create_once(session, _order(**changes), NOW, "req_1")


def _refusal(**changes: Any) -> str:
    with pytest.raises(Refused) as refused:
        _ask(**changes)
    return refused.value.code


def _payouts() -> list[Payout]:
    with transaction() as session:
        return list(session.exec(select(Payout).order_by(Payout.id)))


def _first_attempt(**columns: Any) -> Payout:
    """Let attempt 1 be handed over and end as `columns` say."""
    created = _ask().created
    assert created
    with transaction() as session:
        payout = session.get_one(Payout, created.id)
        for name, value in columns.items():
            setattr(payout, name, value)
    return get_payout(created.id)


def test_the_answer_names_the_payout_and_what_the_gateway_will_be_told_but_nothing_of_the_beneficiary() -> None:
    an_integration(slug="main")

    answered = _ask(details={"iban": "DE02120300000000202051"}, description="May run")

    (payout,) = _payouts()
    assert json.loads(answered.body) == {
        "payout_reference": payout.id,
        "status": "pending",
        "gateway_payload": {
            "integration": "main",
            "order_key": "tx-1:1",
            "amount": "2000",
            "currency": "XOF",
            "description": "May run",
            "details": ["iban"],
        },
    }
    assert payout.order_key == "tx-1:1"
    assert unseal(payout.details or b"") == {"iban": "DE02120300000000202051"}


def test_the_audit_line_is_there_exactly_if_the_payout_is() -> None:
    an_integration(slug="main")
    an_integration(slug="off", is_active=False)
    _ask()
    _refusal(gateway="off", tx_id="tx-2")

    with transaction() as session:
        (line,) = session.exec(select(AuditLine))
    (payout,) = _payouts()
    assert (line.actor, line.action, line.entity, line.request_id) == ("internal", "payout.created", payout.id, "req_1")
    assert line.after == {
        "integration": "main",
        "organisation": "internal",
        "order_key": "tx-1:1",
        "amount_minor": 2_000,
        "currency": "XOF",
        "reference": None,
        "test_mode": False,
    }


def test_an_undone_creation_leaves_nothing_at_all() -> None:
    an_integration(slug="main")

    with pytest.raises(ZeroDivisionError), transaction() as session:
        session.info["undone"] = [create_once(session, _order(), NOW), 1 / 0]

    with transaction() as session:
        for table in (Payout, AuditLine, InternalRequest):
            assert session.exec(select(func.count()).select_from(table)).one() == 0


def test_the_same_attempt_gives_the_same_answer_and_one_payout_whatever_has_happened_since() -> None:
    integration = an_integration(slug="main")
    first = _ask()
    with transaction() as session:
        session.get_one(type(integration), integration.id).is_active = False

    again = _ask()

    assert again.body == first.body
    assert again.created is None
    assert len(_payouts()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 2_001},
        {"currency": "EUR"},
        {"gateway": "paycore"},
        {"description": "other"},
        {"details": {"iban": "FR76"}},
        {"organisation": "Acme"},
    ],
)
def test_the_same_attempt_with_another_body_is_a_conflict(change: dict[str, Any]) -> None:
    an_organisation()
    an_integration(slug="main")
    _ask()

    assert _refusal(**change) == "idempotency_conflict"
    assert len(_payouts()) == 1


def test_what_was_asked_is_kept_sealed() -> None:
    an_integration(slug="main")
    _ask(details={"iban": "DE02120300000000202051"})

    with transaction() as session:
        row = session.connection().execute(text("SELECT internal_request::text FROM internal_request")).scalar_one()
        kept = session.exec(select(InternalRequest.asked)).one()
    assert "DE02" not in row
    assert unseal(kept)["details"] == {"iban": "DE02120300000000202051"}


def test_of_twins_one_creates_and_all_are_told_the_same() -> None:
    an_integration(slug="main")

    answers = at_once(*[_ask] * 12)

    assert len({answer.body for answer in answers}) == 1
    assert len([answer for answer in answers if answer.created]) == 1
    assert len(_payouts()) == 1


def test_of_different_attempts_at_once_one_creates() -> None:
    an_integration(slug="main")

    def attempt(number: int) -> str:
        try:
            _ask(attempt=number)
        except Refused as refused:
            return refused.code
        return "created"

    outcomes = at_once(*[lambda number=number: attempt(number) for number in range(1, 9)])  # type: ignore[misc]

    assert sorted(outcomes) == ["created", *["previous_attempt_open"] * 7]
    assert len(_payouts()) == 1


@pytest.mark.parametrize(
    ("columns", "is_free"),
    [
        ({}, False),
        ({"submission": SubmissionState.SENDING}, False),
        ({"submission": SubmissionState.UNKNOWN}, False),
        ({"submission": SubmissionState.ACCEPTED}, False),
        ({"submission": SubmissionState.NOT_RECEIVED}, True),
        ({"submission": SubmissionState.NOT_RECEIVED, "is_disputed": True}, False),
        ({"submission": SubmissionState.REJECTED}, True),
        ({"submission": SubmissionState.REJECTED, "is_disputed": True}, False),
    ],
)
def test_another_attempt_waits_until_the_one_before_was_positively_not_taken(
    columns: dict[str, Any], *, is_free: bool
) -> None:
    an_integration(slug="main")
    _first_attempt(**columns)

    if is_free:
        assert _ask(attempt=2).created
    else:
        assert _refusal(attempt=2) == "previous_attempt_open"


@pytest.mark.parametrize("status", sorted(PayoutStatus))
@pytest.mark.parametrize("source", [Source.WEBHOOK, Source.SUBMISSION, Source.POLL])
def test_only_an_end_without_delivery_that_a_poll_has_told_frees_the_next_attempt(
    status: PayoutStatus, source: Source
) -> None:
    an_integration(slug="main")
    payout = _first_attempt(submission=SubmissionState.ACCEPTED)
    say(payout, status, source=source)

    is_free = source == Source.POLL and status in {PayoutStatus.FAILED, PayoutStatus.CANCELED, PayoutStatus.RETURNED}
    with transaction() as session:
        assert could_still_pay(session, [payout.id]) == ([] if is_free else [payout.id])
    if is_free:
        assert _ask(attempt=2).created
    else:
        assert _refusal(attempt=2) == "previous_attempt_open"


def test_a_failure_that_only_a_webhook_told_frees_once_a_poll_confirms_it() -> None:
    an_integration(slug="main")
    payout = _first_attempt(submission=SubmissionState.ACCEPTED)
    say(payout, PayoutStatus.FAILED)
    assert _refusal(attempt=2) == "previous_attempt_open"

    say(payout, PayoutStatus.FAILED, source=Source.POLL)

    assert _ask(attempt=2).created


def test_a_rejection_that_the_gateway_itself_belies_frees_nothing() -> None:
    an_integration(slug="main")
    payout = _first_attempt(submission=SubmissionState.REJECTED)
    say(payout, PayoutStatus.BROADCAST)

    assert _refusal(attempt=2) == "previous_attempt_open"


def test_a_payout_called_off_before_it_left_frees_the_next_attempt() -> None:
    an_integration(slug="main")
    payout = _first_attempt()
    say(payout, PayoutStatus.CANCELED, source=Source.OPERATOR)

    assert get_payout(payout.id).submission == SubmissionState.UNSENT
    assert _ask(attempt=2).created


def test_a_failure_contradicted_later_frees_nothing() -> None:
    an_integration(slug="main")
    payout = _first_attempt(submission=SubmissionState.ACCEPTED)
    say(payout, PayoutStatus.FAILED, source=Source.POLL)
    say(payout, PayoutStatus.DELIVERED)

    assert get_payout(payout.id).is_disputed
    assert _refusal(attempt=2) == "previous_attempt_open"


def test_an_attempt_that_arrives_late_does_not_pay_again() -> None:
    an_integration(slug="main")
    _ask(attempt=2)

    assert _refusal(attempt=1) == "previous_attempt_open"


def test_every_attempt_before_must_be_over_not_only_the_last() -> None:
    an_integration(slug="main")
    first = _first_attempt(submission=SubmissionState.NOT_RECEIVED)
    second = _ask(attempt=2).created
    assert second
    with transaction() as session:
        session.get_one(Payout, second.id).submission = SubmissionState.NOT_RECEIVED
    say(first, PayoutStatus.INITIATED)  # it was received after all

    assert _refusal(attempt=3) == "previous_attempt_open"


def test_another_transaction_is_not_held_up() -> None:
    an_integration(slug="main")
    _ask()

    assert _ask(tx_id="tx-2").created
    assert _ask(tx_id="tx-1x").created


def test_a_gateway_may_be_named_where_one_integration_of_it_is_active() -> None:
    an_integration("mollie", slug="old", is_active=False)
    an_integration("mollie", slug="new")

    body = json.loads(_ask(gateway="mollie", currency="EUR").body)

    assert body["gateway_payload"]["integration"] == "new"


@pytest.mark.parametrize(
    ("gateway", "code"),
    [
        ("mollie", "integration_ambiguous"),
        ("fedapay", "integration_inactive"),
        ("nobody", "integration_inactive"),
        ("resting", "integration_inactive"),
    ],
)
def test_a_gateway_without_one_active_integration_is_refused(gateway: str, code: str) -> None:
    an_integration("mollie", slug="one")
    an_integration("mollie", slug="two")
    an_integration("fedapay", slug="resting", is_active=False)

    assert _refusal(gateway=gateway) == code


def test_at_a_test_account_it_is_a_test_payout() -> None:
    an_integration(slug="main", test_mode=True)

    _ask()

    (payout,) = _payouts()
    assert payout.test_mode is True


def test_an_organisation_nobody_knows_is_refused_and_not_made() -> None:
    an_integration(slug="main")

    assert _refusal(organisation="Nobody") == "unknown_organisation"
    assert _refusal(organisation="Nobody") == "unknown_organisation"


def test_a_payout_that_is_not_the_internal_callers_is_nobodys_attempt() -> None:
    integration = an_integration(slug="main")
    a_payout(integration, order_key="tx-1:7")

    assert _ask().created
    with transaction() as session:
        assert session.exec(select(col(InternalRequest.attempt))).all() == [1]
