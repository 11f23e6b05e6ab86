"""The rest of a payout of which a part has arrived: given back only by somebody who was asked, and about that part."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from connectors._base import PayoutUpdate
from models import schema
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source
from payouts.ask import learn, questions
from payouts.books import prove
from payouts.observe import Evidence, observe
from tests.connectors.sample import connector_of
from tests.connectors.samples.paycore import a_callback, an_invoice
from tests.factories import a_balance, a_payout, get_balance, get_entries, get_payout, get_sums, say, some_evidence

S = PayoutStatus

T1 = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
T2, T3 = T1 + timedelta(minutes=1), T1 + timedelta(minutes=2)

pytestmark = pytest.mark.usefixtures("database")


def _poll(payout: Payout, status: PayoutStatus = S.DELIVERED, **facts: Any) -> None:
    update: PayoutUpdate = some_evidence(payout, status, **facts).update
    with transaction() as session:
        learn(session, [(question, update) for question in questions(session, [payout.id])], datetime.now(UTC))


def _is_asked_at_once(payout: Payout) -> bool:
    due = get_payout(payout.id).next_poll_at
    return due is not None and due <= datetime.now(UTC)


def test_a_late_older_webhook_gives_nothing_back() -> None:
    balance = a_balance(1_000)
    payout = a_payout(amount_minor=1_000)
    say(payout, S.DELIVERED, occurred_at=T2, processed_amount_minor=1_000)
    _poll(payout, occurred_at=T2, processed_amount_minor=1_000)

    say(payout, S.DELIVERED, occurred_at=T1, processed_amount_minor=725)

    assert get_payout(payout.id).processed_amount_minor == 1_000
    assert get_sums(balance.id) == {"funding": -1_000, "out": 1_000}


def test_a_webhook_that_tells_of_less_after_a_poll_gives_nothing_back_and_is_asked_about_at_once() -> None:
    balance = a_balance(1_000)
    payout = a_payout(amount_minor=1_000)
    _poll(payout, occurred_at=T1, processed_amount_minor=1_000)

    say(payout, S.DELIVERED, occurred_at=T2, processed_amount_minor=725)
    assert get_sums(balance.id) == {"funding": -1_000, "held": 275, "out": 725}
    assert get_entries(balance.id)[-1].kind == "resumed"
    assert _is_asked_at_once(payout)

    _poll(payout, occurred_at=T2, processed_amount_minor=725)
    assert get_sums(balance.id) == {"funding": -1_000, "available": 275, "out": 725}
    assert not _is_asked_at_once(payout)


def test_a_part_that_a_webhook_tells_first_is_asked_about_at_once() -> None:
    a_balance(1_000)
    payout = a_payout(amount_minor=1_000)

    say(payout, S.DELIVERED, processed_amount_minor=725)

    assert _is_asked_at_once(payout)


@pytest.mark.parametrize("arrived", [None, 1_000])
def test_what_has_arrived_whole_is_not_asked_about_at_once(arrived: int | None) -> None:
    a_balance(1_000)
    payout = a_payout(amount_minor=1_000)

    say(payout, S.DELIVERED, processed_amount_minor=arrived)

    assert not _is_asked_at_once(payout)


def test_a_poll_that_names_no_amount_gives_nothing_back_and_is_not_repeated_at_once() -> None:
    balance = a_balance(1_000)
    payout = a_payout(amount_minor=1_000)
    say(payout, S.DELIVERED, processed_amount_minor=725)

    _poll(payout)

    assert get_sums(balance.id) == {"funding": -1_000, "held": 275, "out": 725}
    assert not _is_asked_at_once(payout)


def test_a_poll_about_another_amount_gives_nothing_back_for_this_one() -> None:
    balance = a_balance(1_000)
    payout = a_payout(amount_minor=1_000)
    _poll(payout, occurred_at=T1, processed_amount_minor=725)
    assert get_balance(balance.id).available_minor == 275

    say(payout, S.DELIVERED, occurred_at=T2, processed_amount_minor=1_000)
    say(payout, S.DELIVERED, occurred_at=T3, processed_amount_minor=725)

    assert get_sums(balance.id) == {"funding": -1_000, "held": 275, "out": 725}


def test_a_poll_that_tells_of_a_part_under_way_gives_nothing_back() -> None:
    balance = a_balance(1_000)
    payout = a_payout(amount_minor=1_000)
    _poll(payout, S.BROADCAST, processed_amount_minor=725)

    say(payout, S.DELIVERED)

    assert get_sums(balance.id) == {"funding": -1_000, "held": 275, "out": 725}


@pytest.mark.parametrize("source", [Source.POLL, Source.SUBMISSION, Source.OPERATOR])
def test_whoever_was_asked_gives_back_what_they_say_has_not_arrived(source: Source) -> None:
    balance = a_balance(1_000)
    payout = a_payout(amount_minor=1_000)

    say(payout, S.DELIVERED, source=source, processed_amount_minor=725)
    say(payout, S.DELIVERED, processed_amount_minor=725)

    assert get_sums(balance.id) == {"funding": -1_000, "available": 275, "out": 725}


def test_an_answer_of_an_earlier_epoch_gives_nothing_back_in_this_one() -> None:
    balance = a_balance(1_000)
    payout = a_payout(amount_minor=1_000)
    _poll(payout, processed_amount_minor=725)
    with transaction() as session:
        session.get_one(Payout, payout.id).epoch = 2

    say(payout, S.DELIVERED, processed_amount_minor=725)

    assert get_sums(balance.id) == {"funding": -1_000, "held": 275, "out": 725}


def test_what_was_given_back_before_observations_told_amounts_stays_so() -> None:
    balance = a_balance(1_000)
    payout = a_payout(amount_minor=1_000)
    _poll(payout, processed_amount_minor=725)
    migration = ScriptDirectory.from_config(schema._config()).get_revision("0010").module
    with transaction() as session:
        session.connection().execute(text("UPDATE observation SET processed_amount_minor = NULL"))
        session.connection().execute(text(migration.GIVEN_BACK))

    say(payout, S.DELIVERED, processed_amount_minor=725)

    assert get_sums(balance.id) == {"funding": -1_000, "available": 275, "out": 725}
    with transaction() as session:
        assert prove(session, datetime.now(UTC)).violations == ()


def test_of_a_delivery_that_was_called_back_in_part_the_part_that_stayed_paid_is_kept() -> None:
    balance = a_balance(100_050)
    payout = a_payout(amount_minor=100_050, reference=None)
    paid, called_back = (
        an_invoice(reference_id=payout.order_key, currency="EUR"),
        an_invoice(reference_id=payout.order_key, currency="EUR", status="partially_canceled", processed_amount=725.25),
    )

    for invoice, source in ((paid, Source.WEBHOOK), (called_back, Source.WEBHOOK), (called_back, Source.POLL)):
        (update,) = connector_of("paycore").parse(a_callback(invoice))
        with transaction() as session:
            observe(session, [Evidence(payout.integration_id, update, source)], datetime.now(UTC))

    assert get_sums(balance.id) == {"funding": -100_050, "available": 27_525, "out": 72_525}
