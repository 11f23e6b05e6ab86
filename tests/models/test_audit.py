from datetime import UTC, datetime

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session, select

from models.audit import AuditLine, record
from models.database import transaction

NOW = datetime(2026, 7, 30, 12, 0, 0, 123456, tzinfo=UTC)


def _add(**columns: object) -> None:
    line = {"actor": "operator:ada", "action": "thing.done", "entity": "thing:1", "before": None, "after": None}
    with transaction() as session:
        record(session, **{**line, "now": NOW, **columns})  # type: ignore[arg-type]


def _record(session: Session) -> None:
    record(session, actor="system", action="a.b", entity="c", before=None, after=None, now=NOW)


def _lines() -> list[AuditLine]:
    with transaction() as session:
        return list(session.exec(select(AuditLine).order_by(AuditLine.id)))


def test_a_line_keeps_who_did_what_to_what_and_what_it_was_before(database: None) -> None:
    _add(before={"is_active": True}, after={"is_active": False, "at": NOW}, request_id="req_1")

    (line,) = _lines()
    assert (line.actor, line.action, line.entity) == ("operator:ada", "thing.done", "thing:1")
    assert line.before == {"is_active": True}
    assert line.after == {"is_active": False, "at": "2026-07-30T12:00:00.123456+00:00"}
    assert line.request_id == "req_1"
    assert line.recorded_at == NOW


def test_nothing_before_is_null_and_not_a_json_null(database: None) -> None:
    _add()

    with transaction() as session:
        assert session.connection().execute(text("SELECT before IS NULL AND after IS NULL FROM audit")).scalar_one()


def test_a_line_is_there_only_if_what_it_tells_of_is(database: None) -> None:
    with pytest.raises(ZeroDivisionError), transaction() as session:
        session.info["undone"] = [_record(session), 1 / 0]

    assert _lines() == []


@pytest.mark.parametrize("table", ["audit", "audit_link"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_database_refuses_to_change_or_lose_a_line(database: None, table: str, change: str) -> None:
    _add()
    column = {"audit": "actor = 'somebody'", "audit_link": "audit_id = 2"}[table]

    with pytest.raises(ProgrammingError) as refusal, transaction() as session:
        session.connection().execute(text(change.format(table, column)))

    assert isinstance(refusal.value.orig, InsufficientPrivilege)
    assert len(_lines()) == 1


def test_each_line_knows_its_transaction(database: None) -> None:
    with transaction() as session:
        for _ in range(2):
            _record(session)
    _add()

    first, second, third = _lines()
    assert first.transaction_id == second.transaction_id < third.transaction_id
