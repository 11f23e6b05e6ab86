"""The proof of the books finds whatever was written past the rules, and says nothing of what was not."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source
from payouts.attention import read_books
from payouts.books import Proof, prove
from tests.factories import a_balance, a_payout, get_balance, say

S = PayoutStatus

pytestmark = pytest.mark.usefixtures("database")


def _prove() -> Proof:
    with transaction() as session:
        return prove(session, datetime.now(UTC))


def _forge(statement: str, **values: object) -> None:
    """Write past every trigger, as only somebody with the database in hand can."""
    with transaction() as session:
        session.connection().execute(text("SET LOCAL session_replication_role = replica"))
        session.connection().execute(text(statement), values)


@pytest.fixture
def payout() -> Payout:
    """Return a payout that is under way, from a balance beside which others are used as well."""
    a_balance(10_000, reserve_minor=500)
    a_balance(10_000, currency="XOF")
    for status in S:
        say(a_payout(amount_minor=100, currency="XOF"), status, source=Source.POLL)
    return a_payout(amount_minor=300)


def test_books_that_were_kept_by_the_rules_agree(payout: Payout) -> None:
    assert _prove() == Proof((), ())


def test_a_line_that_was_changed_is_found(payout: Payout) -> None:
    _forge("UPDATE ledger_entry SET amount_minor = 299 WHERE payout_id = :id AND account = 'held'", id=payout.id)

    found = _prove().violations

    assert any("sums to -1, not to zero" in line for line in found)
    assert any(line.startswith(f"balance {payout.balance_id} has") for line in found)
    assert any(line.startswith(f"payout {payout.id} (pending) is booked as held 299") for line in found)


def test_a_transaction_that_was_taken_away_is_found(payout: Payout) -> None:
    _forge("DELETE FROM ledger_entry WHERE payout_id = :id", id=payout.id)

    found = _prove().violations

    assert any("its entries make 10000, 0 and 500" in line for line in found)
    assert any("has to stand as held 300" in line for line in found)


@pytest.mark.parametrize("total", ["balance_minor", "held_minor", "reserve_minor", "overdraft_minor"])
def test_a_total_that_was_changed_is_found(payout: Payout, total: str) -> None:
    _forge(f"UPDATE balance SET {total} = {total} + 1 WHERE id = :id", id=payout.balance_id)  # noqa: S608

    (found,) = _prove().violations

    assert found.startswith(f"balance {payout.balance_id} has")


def test_a_status_that_moved_without_its_money_is_found(payout: Payout) -> None:
    _forge("UPDATE payout SET status = 'delivered', next_poll_at = NULL WHERE id = :id", id=payout.id)

    (found,) = _prove().violations

    booked, wanted = "held 300, out 0, fees 0", "held 0, out 300, fees 0"
    assert found == f"payout {payout.id} (delivered) is booked as {booked} and has to stand as {wanted}"


def test_a_hold_for_no_payout_is_found(payout: Payout) -> None:
    lines = "('x', :id, 'available', 'held', -7, 'pay_no', now()), ('x', :id, 'held', 'held', 7, 'pay_no', now())"
    columns = "transaction_id, balance_id, account, kind, amount_minor, payout_id, created_at"
    with transaction() as session:
        statement = f"INSERT INTO ledger_entry ({columns}) VALUES {lines}"  # noqa: S608
        session.connection().execute(text(statement), {"id": payout.balance_id})

    assert _prove().violations == (
        f"balance {payout.balance_id} has 7 held or out for pay_no, which is no payout of it",
    )


def test_a_payout_that_is_over_and_whose_money_nobody_asks_about_any_more_waits_for_a_person(payout: Payout) -> None:
    say(payout, S.FAILED)
    assert _prove() == Proof((), ())

    with transaction() as session:
        session.get_one(Payout, payout.id).next_poll_at = None

    assert _prove() == Proof((), (payout.id,))


def test_a_disputed_payout_that_is_over_waits_for_a_person_at_once(payout: Payout) -> None:
    say(payout, S.FAILED)
    say(payout, S.DELIVERED)

    assert _prove().waiting == (payout.id,)


def test_the_proof_mends_nothing(payout: Payout) -> None:
    _forge("UPDATE balance SET held_minor = 299 WHERE id = :id", id=payout.balance_id)

    _prove()

    assert get_balance(str(payout.balance_id)).held_minor == 299


def test_before_the_first_proof_nothing_is_claimed() -> None:
    with transaction() as session:
        books = read_books(session)

    assert (books.proven_at, books.number, books.violations, books.waiting) == (None, 0, (), ())
