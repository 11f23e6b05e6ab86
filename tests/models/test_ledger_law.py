"""Whatever path an entry is written by, PostgreSQL itself keeps the books: whole, covered, and never rewritten."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

import models
from models.balance import OWN, STRICT, Account, Balance, BalanceStatus, EntryKind, Frequency
from models.database import engine
from tests.factories import a_balance

MIGRATION = Path(models.__file__).parent / "migrations" / "versions" / "0004_money.py"

Line = tuple[str, str, int]


@pytest.fixture
def connection(database: None) -> Iterator[Connection]:
    """Give a transaction on a bare connection, which is rolled back."""
    with engine().connect() as connection:
        yield connection


def _add(connection: Connection, balance_id: str, kind: str, *lines: Line) -> None:
    """Add lines (transaction, account, amount) in one statement, as somebody at a console would."""
    values = ", ".join(f"('{name}', :id, '{account}', :kind, {amount}, now())" for name, account, amount in lines)
    statement = f"INSERT INTO ledger_entry (transaction_id, balance_id, account, kind, amount_minor, created_at) VALUES {values}"  # noqa: E501, S608
    connection.execute(text(statement), {"id": balance_id, "kind": kind})


def _totals(connection: Connection, balance_id: str) -> tuple[int, ...]:
    columns = "balance_minor, held_minor, reserve_minor, overdraft_minor"
    row = connection.execute(text(f"SELECT {columns} FROM balance WHERE id = :id"), {"id": balance_id}).one()  # noqa: S608
    return tuple(row)


def test_the_database_adds_the_totals_up_by_itself(connection: Connection) -> None:
    balance = a_balance()

    _add(connection, balance.id, "credited", ("a", "available", 100), ("a", "funding", -100))
    _add(connection, balance.id, "held", ("b", "available", -30), ("b", "held", 30))
    _add(connection, balance.id, "reserved", ("c", "available", -20), ("c", "reserve", 20))

    assert _totals(connection, balance.id) == (100, 30, 20, 0)


@pytest.mark.parametrize(
    "lines",
    [
        [("a", "available", 100)],
        [("a", "available", 100), ("a", "funding", -99)],
        [("a", "available", 100), ("b", "funding", -100)],
        [("a", "available", 100), ("a", "funding", -100), ("b", "held", 1), ("b", "available", -2)],
    ],
)
def test_lines_that_do_not_sum_to_zero_are_refused(connection: Connection, lines: list[Line]) -> None:
    balance = a_balance()

    with pytest.raises(IntegrityError, match="do not sum to zero"):
        _add(connection, balance.id, "credited", *lines)


def test_a_transaction_closes_in_each_balance_that_it_touches(connection: Connection) -> None:
    ours, theirs = a_balance(), a_balance(organisation="Other")
    crosswise = """
        INSERT INTO ledger_entry (transaction_id, balance_id, account, kind, amount_minor, created_at)
        VALUES ('a', :ours, 'available', 'adjusted', -5, now()), ('a', :theirs, 'available', 'adjusted', 5, now())
    """

    with pytest.raises(IntegrityError, match="do not sum to zero"):
        connection.execute(text(crosswise), {"ours": ours.id, "theirs": theirs.id})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET amount_minor = 1",
        "UPDATE ledger_entry SET note = 'x' WHERE false",
        "DELETE FROM ledger_entry",
        "TRUNCATE ledger_entry",
    ],
)
def test_an_entry_is_never_changed_and_never_taken_away(connection: Connection, statement: str) -> None:
    a_balance(100)

    with pytest.raises(DBAPIError, match="append-only"):
        connection.execute(text(statement))


@pytest.mark.parametrize("total", ["balance_minor", "held_minor", "reserve_minor", "overdraft_minor"])
def test_no_total_is_written_but_by_entries(connection: Connection, total: str) -> None:
    balance = a_balance(100)

    with pytest.raises(IntegrityError, match="sums of ledger entries"):
        connection.execute(text(f"UPDATE balance SET {total} = {total} + 1 WHERE id = :id"), {"id": balance.id})  # noqa: S608


def test_a_balance_is_born_empty(connection: Connection) -> None:
    organisation = a_balance().organisation_id
    columns = "id, organisation_id, test_mode, currency, balance_minor, created_at"

    with pytest.raises(IntegrityError, match="sums of ledger entries"):
        connection.execute(
            text(f"INSERT INTO balance ({columns}) VALUES ('bal_1', :organisation, true, 'EUR', 5, now())"),  # noqa: S608
            {"organisation": organisation},
        )


def test_settings_of_a_balance_are_not_totals(connection: Connection) -> None:
    balance = a_balance(100)

    connection.execute(text("UPDATE balance SET status = 'inactive' WHERE id = :id"), {"id": balance.id})

    assert _totals(connection, balance.id) == (100, 0, 0, 0)


@pytest.mark.parametrize(("kind", "account"), [("held", "held"), ("reserved", "reserve")])
def test_no_hold_and_no_reserve_takes_more_than_is_available(connection: Connection, kind: str, account: str) -> None:
    balance = a_balance(100, reserve_minor=40)
    _add(connection, balance.id, kind, ("a", "available", -60), ("a", account, 60))

    with pytest.raises(IntegrityError, match="not_overdrawn"):
        _add(connection, balance.id, kind, ("b", "available", -1), ("b", account, 1))


def test_what_has_happened_is_booked_even_below_zero_and_then_nothing_is_held(connection: Connection) -> None:
    balance = a_balance(100)

    _add(connection, balance.id, "charged", ("a", "available", -130), ("a", "fees", 130))

    assert _totals(connection, balance.id) == (-30, 0, 0, 30)
    with pytest.raises(IntegrityError, match="not_overdrawn"):
        _add(connection, balance.id, "held", ("b", "available", -1), ("b", "held", 1))


def test_money_that_comes_in_covers_the_overdraft_before_anything_is_held(connection: Connection) -> None:
    balance = a_balance(100)
    _add(connection, balance.id, "adjusted", ("a", "available", -130), ("a", "adjustments", 130))
    _add(connection, balance.id, "credited", ("b", "available", 50), ("b", "funding", -50))

    _add(connection, balance.id, "held", ("c", "available", -20), ("c", "held", 20))

    assert _totals(connection, balance.id) == (20, 20, 0, 0)
    with pytest.raises(IntegrityError, match="not_overdrawn"):
        _add(connection, balance.id, "held", ("d", "available", -1), ("d", "held", 1))


def test_a_reserve_can_be_freed_below_zero(connection: Connection) -> None:
    balance = a_balance(100, reserve_minor=40)
    _add(connection, balance.id, "charged", ("a", "available", -90), ("a", "fees", 90))

    _add(connection, balance.id, "reserved", ("b", "available", 40), ("b", "reserve", -40))

    assert _totals(connection, balance.id) == (10, 0, 0, 0)


def test_more_than_is_held_cannot_be_released(connection: Connection) -> None:
    balance = a_balance(100)
    _add(connection, balance.id, "held", ("a", "available", -30), ("a", "held", 30))

    with pytest.raises(IntegrityError, match="held_not_negative"):
        _add(connection, balance.id, "released", ("b", "available", 31), ("b", "held", -31))


def test_an_entry_of_a_balance_that_nobody_has_is_refused(connection: Connection) -> None:
    with pytest.raises(IntegrityError, match="does not exist"):
        _add(connection, "bal_unknown", "credited", ("a", "available", 1), ("a", "funding", -1))


@pytest.mark.parametrize(
    ("kind", "account"), [("guessed", "available"), ("credited", "elsewhere")], ids=["kind", "account"]
)
def test_words_that_nobody_defined_are_refused(connection: Connection, kind: str, account: str) -> None:
    balance = a_balance()

    with pytest.raises(IntegrityError, match="_known"):
        _add(connection, balance.id, kind, ("a", account, 1), ("a", "funding", -1))


@pytest.mark.parametrize(
    "column", ["status", "transfer_frequency", "negative_threshold_minor", "queued_refunds"], ids=str
)
def test_settings_have_bounds(connection: Connection, column: str) -> None:
    balance = a_balance()
    nonsense: Any = "whatever" if column in ("status", "transfer_frequency") else -1

    with pytest.raises(IntegrityError):
        connection.execute(
            text(f"UPDATE balance SET {column} = :value WHERE id = :id"),  # noqa: S608
            {"id": balance.id, "value": nonsense},
        )


def test_the_words_in_the_migration_are_the_words_in_the_code() -> None:
    migration = MIGRATION.read_text()

    assert f"account IN ({_quoted(OWN)})" in migration
    assert f"kind IN ({_quoted(STRICT)}) AND account = 'available'" in migration
    for word in (*Account, *EntryKind, *BalanceStatus, *Frequency):
        assert f"'{word}'" in migration


def test_available_is_what_is_neither_held_nor_kept_back() -> None:
    balance = Balance(organisation_id="org", test_mode=False, currency="EUR", balance_minor=100, held_minor=30)
    balance.reserve_minor = 20

    assert balance.available_minor == 50


def _quoted(words: tuple[Any, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)
