"""Whatever path a status is written by, PostgreSQL itself refuses every step that is not upwards."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from runpy import run_path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

import models
from models.database import engine, transaction
from models.lifecycle import IN_FLIGHT, SETTLED, PayoutStatus, at_or_above, join
from models.payout import Payout
from payouts.standing import lock, write
from tests.factories import a_payout, an_integration, an_organisation, get_payout

S = PayoutStatus

SPINE = Path(models.__file__).parent / "migrations" / "versions" / "0001_the_spine.py"

BIRTH = text(
    """
    INSERT INTO payout (id, organisation_id, integration_id, order_key, amount_minor, currency, description, test_mode,
        status, epoch, created_at, advanced_at, quiet_since, next_poll_at)
    VALUES (:id, :organisation, :integration, :id, 1, 'EUR', '', false, :status, :epoch, now(), now(), now(), now())
    """
)


@pytest.fixture
def connection(database: None) -> Iterator[Connection]:
    """Give a transaction on a bare connection, which is rolled back."""
    with engine().connect() as connection:
        yield connection


def _born(connection: Connection, status: str = "pending", epoch: int = 1) -> str:
    keys = {"organisation": an_organisation().id, "integration": an_integration().id}
    connection.execute(BIRTH, {"id": "pay_1", **keys, "status": status, "epoch": epoch})
    return "pay_1"


def _set(connection: Connection, payout_id: str, **columns: Any) -> None:
    """UPDATE, as somebody at a console would."""
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    statement = text(f"UPDATE payout SET {assignments} WHERE id = :id")  # noqa: S608 (a test's own column names)
    connection.execute(statement, {"id": payout_id, **columns})


def _read(connection: Connection, payout_id: str) -> tuple[str, int]:
    row = connection.execute(text("SELECT status, epoch FROM payout WHERE id = :id"), {"id": payout_id}).one()
    return row.status, row.epoch


@pytest.mark.parametrize(("old", "new"), list(product(S, S)))
def test_an_update_is_allowed_only_upwards(connection: Connection, old: PayoutStatus, new: PayoutStatus) -> None:
    payout_id = _born(connection)
    _set(connection, payout_id, status=old)

    if join(old, new) is new:
        _set(connection, payout_id, status=new)

        assert _read(connection, payout_id) == (new, 1)
    else:
        with pytest.raises(IntegrityError, match=f"cannot go from {old} .epoch 1. to {new}"):
            _set(connection, payout_id, status=new)


@pytest.mark.parametrize("status", sorted(set(S) - {S.PENDING}))
def test_a_payout_is_never_born_beyond_pending(connection: Connection, status: PayoutStatus) -> None:
    with pytest.raises(IntegrityError, match="born pending in epoch 1"):
        _born(connection, status=status)


def test_a_payout_is_never_born_in_a_later_epoch(connection: Connection) -> None:
    with pytest.raises(IntegrityError, match="born pending in epoch 1"):
        _born(connection, epoch=2)


@pytest.mark.parametrize(("old", "new"), [(S.RETURNED, S.PENDING), (S.FAILED, S.DELIVERED), (S.BROADCAST, S.BROADCAST)])
def test_a_new_epoch_may_begin_with_any_status(connection: Connection, old: PayoutStatus, new: PayoutStatus) -> None:
    payout_id = _born(connection)
    _set(connection, payout_id, status=old)

    _set(connection, payout_id, status=new, epoch=2)

    assert _read(connection, payout_id) == (new, 2)


def test_inside_a_later_epoch_the_same_law_rules(connection: Connection) -> None:
    payout_id = _born(connection)
    _set(connection, payout_id, status=S.BROADCAST, epoch=2)

    with pytest.raises(IntegrityError, match="cannot go from broadcast"):
        _set(connection, payout_id, status=S.INITIATED)


@pytest.mark.parametrize("epoch", [-1, 0, 1, 4])
def test_an_epoch_is_only_ever_the_next_one(connection: Connection, epoch: int) -> None:
    payout_id = _born(connection)
    _set(connection, payout_id, epoch=2)

    with pytest.raises(IntegrityError, match="cannot go from"):
        _set(connection, payout_id, epoch=epoch)


@pytest.mark.parametrize("status", ["", "DELIVERED", "lost"])
def test_an_unknown_status_is_refused_even_in_a_new_epoch(connection: Connection, status: str) -> None:
    payout_id = _born(connection)

    with pytest.raises(IntegrityError):
        _set(connection, payout_id, status=status, epoch=2)


def test_an_upsert_obeys_the_law(connection: Connection) -> None:
    payout_id = _born(connection)
    _set(connection, payout_id, status=S.DELIVERED)
    upsert = text(f"{BIRTH.text} ON CONFLICT (id) DO UPDATE SET status = 'broadcast'")
    keys = {"organisation": an_organisation().id, "integration": an_integration().id}

    with pytest.raises(IntegrityError, match="cannot go from delivered"):
        connection.execute(upsert, {"id": payout_id, **keys, "status": "pending", "epoch": 1})


def test_the_orm_obeys_the_law(database: None) -> None:
    payout = a_payout(status=S.DELIVERED)

    with pytest.raises(IntegrityError, match="cannot go from delivered"), transaction() as session:
        session.exec(select(Payout).where(Payout.id == payout.id)).one().status = S.BROADCAST

    assert get_payout(payout.id).status == S.DELIVERED


def test_the_set_based_path_obeys_the_law_and_one_wrong_row_stops_the_whole_batch(database: None) -> None:
    integration = an_integration()
    settled, waiting = a_payout(integration, status=S.DELIVERED), a_payout(integration)

    with pytest.raises(IntegrityError, match="cannot go from delivered"):
        _write_all([settled.id, waiting.id], S.INITIATED)

    assert get_payout(settled.id).status == S.DELIVERED
    assert get_payout(waiting.id).status == S.PENDING


def _write_all(ids: list[str], status: PayoutStatus) -> None:
    with transaction() as session:
        standings = lock(session, ids)
        for standing in standings:
            standing.status = status
        write(session, standings)


def test_a_refusal_says_where_to_go_instead(connection: Connection) -> None:
    payout_id = _born(connection)
    _set(connection, payout_id, status=S.FAILED)

    with pytest.raises(IntegrityError) as refused:
        _set(connection, payout_id, status=S.PENDING)

    error = refused.value.orig
    assert isinstance(error, psycopg.errors.CheckViolation)
    assert "payouts.observe" in (error.diag.message_hint or "")


@pytest.mark.parametrize("status", sorted(IN_FLIGHT))
def test_a_payout_in_flight_cannot_be_without_a_next_poll(connection: Connection, status: PayoutStatus) -> None:
    payout_id = _born(connection)
    _set(connection, payout_id, status=status)

    with pytest.raises(IntegrityError, match="in_flight_has_a_next_poll"):
        _set(connection, payout_id, next_poll_at=None)


@pytest.mark.parametrize("status", sorted(SETTLED))
def test_a_settled_payout_may_be_without_a_next_poll(connection: Connection, status: PayoutStatus) -> None:
    payout_id = _born(connection)

    _set(connection, payout_id, status=status, next_poll_at=None)

    assert _read(connection, payout_id) == (status, 1)


def test_an_amount_is_never_negative(connection: Connection) -> None:
    payout_id = _born(connection)

    with pytest.raises(IntegrityError, match="amount_not_negative"):
        _set(connection, payout_id, amount_minor=-1)


def test_the_migration_and_the_lattice_agree() -> None:
    written_out = {low: set(highs.split()) for low, highs in run_path(str(SPINE))["AT_OR_ABOVE"].items()}

    assert written_out == {status.value: {above.value for above in at_or_above(status)} for status in S}


def test_the_law_is_switched_on(connection: Connection) -> None:
    triggers = connection.execute(
        text("SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'payout'::regclass AND NOT tgisinternal")
    )

    assert {name: bytes(enabled) if isinstance(enabled, bytes) else enabled.encode() for name, enabled in triggers} == {
        "payout_status_law_insert": b"O",
        "payout_status_law_update": b"O",
    }
