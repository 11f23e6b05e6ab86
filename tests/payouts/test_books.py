"""The proof of the books finds whatever was written past the rules, and says nothing of what was not."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source
from payouts.attention import read_books
from payouts.books import LOOKED_BACK, WHOLE_EVERY, Proof, keep, prove, prove_newest
from payouts.treasury import By, credit
from tests.concurrency import LIMIT_SECONDS
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


# --- proofs that stand on a whole one

LATER = timedelta(hours=2)
"""After it, what is in the ledger now has settled."""


def _lay_a_base(at: datetime | None = None) -> None:
    now = at or datetime.now(UTC) + LATER
    with transaction() as session:
        proof = prove(session, now)
    with transaction() as session:
        keep(session, proof, now)


def _prove_newest(after: timedelta = LATER + timedelta(minutes=5)) -> Proof | None:
    with transaction() as session:
        return prove_newest(session, datetime.now(UTC) + after)


def test_without_a_base_or_with_one_that_is_too_old_only_a_whole_proof_will_tell(payout: Payout) -> None:
    assert _prove_newest() is None
    _lay_a_base()

    assert _prove_newest() == Proof((), ())
    assert _prove_newest(LATER + WHOLE_EVERY + timedelta(minutes=1)) is None
    assert WHOLE_EVERY < LOOKED_BACK


def test_on_a_base_only_what_was_added_since_is_read(payout: Payout) -> None:
    """Which is why there is a whole one every day: the database refuses such a change, and whoever can make it all the
    same is found the next day."""
    _lay_a_base()

    _forge("UPDATE ledger_entry SET note = 'x', amount_minor = -amount_minor WHERE account = 'funding'")

    assert _prove_newest() == Proof((), ())
    assert _prove().violations != ()


def test_what_goes_on_by_the_rules_agrees_with_the_base(payout: Payout) -> None:
    _lay_a_base()

    say(payout, S.DELIVERED)
    a_balance(50, currency="USD", reserve_minor=20)
    say(a_payout(amount_minor=100, currency="XOF"), S.FAILED, source=Source.POLL)

    assert _prove_newest() == Proof((), ())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET amount_minor = amount_minor + 1 WHERE id = (SELECT max(id) FROM ledger_entry)",
        "UPDATE ledger_entry SET account = 'fees' WHERE id = (SELECT max(id) FROM ledger_entry)",
        "DELETE FROM ledger_entry WHERE id = (SELECT max(id) FROM ledger_entry)",
        "UPDATE ledger_entry SET payout_id = 'pay_no' WHERE id >= (SELECT max(id) - 1 FROM ledger_entry)",
        "UPDATE balance SET balance_minor = balance_minor + 1, held_minor = held_minor + 1 WHERE currency = 'XOF'",
        "UPDATE balance SET overdraft_minor = 1 WHERE currency = 'EUR'",
        "UPDATE payout SET status = 'delivered', next_poll_at = NULL WHERE status = 'pending'",
        "UPDATE payout SET debit_minor = debit_minor + 1 WHERE status = 'broadcast'",
    ],
)
def test_whatever_is_written_past_the_rules_since_then_is_found(payout: Payout, statement: str) -> None:
    _lay_a_base()
    a_payout(amount_minor=40)

    _forge(statement)

    assert _prove_newest() is None
    assert _prove().violations != ()


def test_a_payout_that_was_over_long_before_and_holds_money_still_waits(payout: Payout) -> None:
    say(payout, S.FAILED)
    long_ago = datetime.now(UTC) - 2 * LOOKED_BACK
    with transaction() as session:
        row = session.get_one(Payout, payout.id)
        row.next_poll_at, row.advanced_at = None, long_ago
    _lay_a_base()

    assert _prove_newest() == Proof((), (payout.id,))

    _forge("UPDATE payout SET status = 'delivered' WHERE id = :id", id=payout.id)
    assert _prove_newest() is None


def test_a_payout_of_long_ago_whose_money_moves_again_is_looked_at(payout: Payout) -> None:
    say(payout, S.DELIVERED)
    with transaction() as session:
        session.get_one(Payout, payout.id).advanced_at = datetime.now(UTC) - 2 * LOOKED_BACK
    _lay_a_base()

    say(payout, S.RETURNED, source=Source.POLL)
    with transaction() as session:
        session.get_one(Payout, payout.id).advanced_at = datetime.now(UTC) - 2 * LOOKED_BACK

    assert _prove_newest() == Proof((), ())
    _forge("UPDATE payout SET status = 'delivered' WHERE id = :id", id=payout.id)
    assert _prove_newest() is None


def test_a_transaction_that_commits_from_below_the_base_is_no_violation(payout: Payout) -> None:
    """An entry has its number before its commit. Nothing is wrong with it, but only a whole proof can tell."""
    has_written, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction() as session:
            credit(session, str(payout.balance_id), 7, By("test", "a slow one", datetime.now(UTC)))
            has_written.set()
            may_commit.wait(LIMIT_SECONDS)

    writing = threading.Thread(target=slow)
    writing.start()
    has_written.wait(LIMIT_SECONDS)
    a_payout(amount_minor=100, currency="XOF")
    _lay_a_base()
    may_commit.set()
    writing.join(LIMIT_SECONDS)

    assert _prove_newest() is None
    assert _prove() == Proof((), ())
    _lay_a_base()
    assert _prove_newest() == Proof((), ())


def test_a_base_that_ends_amid_a_transaction_is_as_good(payout: Payout) -> None:
    _forge(
        "UPDATE ledger_entry SET created_at = created_at - interval '3 hours'"
        " WHERE id < (SELECT max(id) FROM ledger_entry)"
    )
    _lay_a_base(datetime.now(UTC))
    with transaction() as session:
        rest = session.connection().execute(
            text("SELECT count(*) FROM ledger_entry WHERE id > (SELECT up_to FROM books_base)")
        )
        assert rest.scalar_one() == 1

    assert _prove_newest(timedelta(minutes=5)) == Proof((), ())


def test_while_something_is_wrong_there_is_no_base(payout: Payout) -> None:
    _lay_a_base()
    _forge("UPDATE balance SET held_minor = held_minor + 1")
    _lay_a_base()
    _forge("UPDATE balance SET held_minor = held_minor - 1")

    assert _prove_newest() is None
