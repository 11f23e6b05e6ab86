"""The job that proves the books: silent when they agree, an alarm in three places when they do not."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from freezegun import freeze_time
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from structlog.testing import capture_logs

from cli import ratchet
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout
from payouts.attention import Books, read_books
from payouts.lags import read_lags
from payouts.treasury import By, credit
from reconciler.books import prove_books
from tests.factories import a_balance, a_payout, say

pytestmark = pytest.mark.usefixtures("database")


def _books() -> Books:
    with transaction() as session:
        return read_books(session)


def _scraped(name: str) -> float | None:
    registry = CollectorRegistry()
    read_lags(registry)
    return registry.get_sample_value(name)


def _forge(statement: str) -> None:
    with transaction() as session:
        session.connection().execute(text("SET LOCAL session_replication_role = replica"))
        session.connection().execute(text(statement))


def test_books_that_agree_are_proven_in_silence() -> None:
    a_balance(10_000)

    with capture_logs() as lines:
        prove_books()

    assert lines == []
    assert _books().proven_at is not None
    assert _scraped("ratchet_books_violations") == 0
    assert 0 <= (_scraped("ratchet_books_proof_age_seconds") or 0) < 60


def test_a_violation_is_logged_counted_and_told_to_operators_until_it_is_gone() -> None:
    balance = a_balance(10_000)
    _forge("UPDATE balance SET held_minor = 5")

    with capture_logs() as lines:
        prove_books()

    assert [(line["event"], line["log_level"]) for line in lines] == [("books.violated", "error")]
    assert balance.id in lines[0]["violation"]
    assert _scraped("ratchet_books_violations") == 1
    doctor = json.loads(CliRunner().invoke(ratchet, ["doctor", "--json"]).output)
    assert [check["ok"] for check in doctor if check["check"] == "books"] == [False]
    assert "the books do not agree" in CliRunner().invoke(ratchet, ["stuck"]).output

    _forge("UPDATE balance SET held_minor = 0")
    prove_books()

    assert (_books().number, _books().violations) == (0, ())


def test_what_is_added_wrongly_is_found_by_the_next_proof() -> None:
    balance = a_balance(10_000)
    with freeze_time() as clock:
        clock.tick(timedelta(hours=2))  # what is in the ledger has settled
        prove_books()
        with transaction() as session:
            credit(session, balance.id, 1, By("test", "on top", datetime.now(UTC)))
        _forge("DELETE FROM ledger_entry WHERE amount_minor = -1")
        clock.tick(timedelta(minutes=5))

        prove_books()

    assert _books().number == 1


def test_what_was_proven_is_read_again_the_next_day() -> None:
    a_balance(10_000)
    with freeze_time() as clock:
        clock.tick(timedelta(hours=2))
        prove_books()
        _forge("UPDATE ledger_entry SET amount_minor = -amount_minor WHERE account = 'funding'")

        found = []
        for hours in (1, 22, 2):
            clock.tick(timedelta(hours=hours))
            prove_books()
            found.append(_books().number)

    assert found == [0, 0, 1]


def test_only_the_first_of_many_violations_are_kept_and_all_are_counted() -> None:
    for number in range(60):
        a_balance(10_000, organisation=f"Partner {number}")
    _forge("UPDATE balance SET held_minor = 5")

    prove_books()

    assert (_books().number, len(_books().violations)) == (60, 50)


def test_money_that_waits_for_a_person_is_told_and_is_no_violation() -> None:
    a_balance(10_000)
    payout = a_payout(amount_minor=300)
    say(payout, PayoutStatus.FAILED)
    with transaction() as session:
        session.get_one(Payout, payout.id).next_poll_at = None

    with capture_logs() as lines:
        prove_books()

    assert [(line["event"], line["log_level"]) for line in lines] == [("books.money_waits", "warning")]
    assert _books().waiting == (payout.id,)
    assert _scraped("ratchet_books_waiting") == 1
