"""The chain: sealed in an order that nothing can slip into, and broken by whatever is changed behind its back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from sqlalchemy import text
from sqlmodel import Session, col, select

from models.audit import AuditLine, AuditLink, record
from models.audit_chain import LINE, Head, canonical, head, seal
from models.audit_check import Verdict, verify
from models.database import engine, transaction
from tests.concurrency import at_once

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 7, 30, 12, 0, 0, 5, tzinfo=UTC)
_ALL = text(f"SELECT {LINE} FROM audit a ORDER BY id")  # noqa: S608 (our own columns)


def _record(session: Session, number: int, **columns: object) -> None:
    line = {"actor": "operator:ada", "action": "thing.done", "entity": f"thing:{number}", "request_id": None}
    facts = {"before": {"number": number - 1}, "after": {"number": number, "name": "Ünï ☂"}}
    record(session, **{**line, **facts, "now": NOW, **columns})  # type: ignore[arg-type]


def _add(*numbers: int) -> None:
    for number in numbers:
        with transaction() as session:
            _record(session, number)


def _seal(**options: object) -> list[Head]:
    with transaction() as session:
        return seal(session, NOW, **options)  # type: ignore[arg-type]


def _verify(*noted: Head) -> Verdict:
    with transaction() as session:
        return verify(session, noted)


def _sealed_entities() -> list[str]:
    with transaction() as session:
        query = select(AuditLine.entity).join(AuditLink, col(AuditLink.audit_id) == AuditLine.id)
        return list(session.exec(query.order_by(col(AuditLink.sequence))))


def _tamper(*statements: str) -> None:
    """Change what only a superuser can, with every trigger off."""
    with transaction() as session:
        session.connection().execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            assert session.connection().execute(text(statement)).rowcount


def _kinds(verdict: Verdict) -> list[tuple[str, int]]:
    return [(finding.kind, finding.sequence) for finding in verdict.findings]


@contextmanager
def _an_open_transaction(number: int) -> Iterator[None]:
    """Add a line and commit it only when the block ends."""
    with transaction() as session:
        _record(session, number)
        yield


def test_each_hash_is_over_the_hash_before_and_the_lines_canonical_json() -> None:
    _add(1, 2)

    first, second = _seal()

    with transaction() as session:
        lines = session.connection().execute(_ALL).mappings().all()
    assert first.hash == sha256(bytes(32) + canonical(lines[0])).digest()
    assert second == Head(2, sha256(first.hash + canonical(lines[1])).digest())


def test_the_canonical_json_is_sorted_utc_and_without_nulls() -> None:
    _add(1)

    with transaction() as session:
        line = session.connection().execute(_ALL).mappings().one()
    assert canonical(line).decode() == (
        '{"action":"thing.done","actor":"operator:ada","after":{"name":"Ünï ☂","number":1},"before":{"number":0},'
        f'"entity":"thing:1","id":1,"recorded_at":"2026-07-30T12:00:00.000005+00:00",'
        f'"transaction_id":{line["transaction_id"]}}}'
    )


def test_what_is_sealed_holds_and_its_head_can_be_noted() -> None:
    _add(1, 2, 3)
    noted = _seal()[-1]
    _add(4)

    verdict = _verify(noted, Head.parse(str(noted)))

    assert verdict.findings == ()
    assert (verdict.links, verdict.lines, verdict.unsealed, verdict.oldest_unsealed_at) == (3, 4, 1, NOW)
    assert verdict.head == noted


def test_nothing_sealed_is_nothing_wrong() -> None:
    assert _verify() == Verdict(0, 0, 0, None, None, ())


def test_sealing_goes_on_where_it_stopped_and_seals_nothing_twice() -> None:
    _add(1, 2, 3)

    assert [link.sequence for link in _seal(most=2)] == [1, 2]
    assert [link.sequence for link in _seal(most=2)] == [3]
    assert _seal() == []
    assert _sealed_entities() == ["thing:1", "thing:2", "thing:3"]


def test_a_line_of_a_transaction_still_at_work_holds_back_all_that_come_after_it() -> None:
    _add(1)
    with _an_open_transaction(2):
        _add(3)

        _seal()
        assert _sealed_entities() == ["thing:1"]

    _seal()
    assert _sealed_entities() == ["thing:1", "thing:2", "thing:3"]
    assert _verify().findings == ()


def test_a_transaction_that_gives_up_holds_nothing_back() -> None:
    given_up = engine().connect()
    with Session(given_up) as session:
        _record(session, 1)
        _add(2)
        assert _seal() == []
        session.rollback()
    given_up.close()

    assert len(_seal()) == 1
    assert _verify().findings == ()


def test_lines_of_one_transaction_are_sealed_in_the_order_in_which_they_were_added() -> None:
    with transaction() as session:
        for number in (3, 1, 2):
            _record(session, number)

    _seal()

    assert _sealed_entities() == ["thing:3", "thing:1", "thing:2"]


def test_writers_and_two_sealers_at_once_leave_one_whole_chain() -> None:
    done = threading.Event()

    def write(first: int) -> None:
        try:
            for number in range(first, first + 40):
                with transaction() as session:
                    _record(session, number)
                    _record(session, -number)
        finally:
            done.set()

    def seal_on() -> None:
        while not done.wait(0.001):
            _seal(most=7)

    at_once(*[lambda first=100 * n: write(first) for n in range(4)], seal_on, seal_on)  # type: ignore[misc]
    while _seal():
        pass

    verdict = _verify()
    assert verdict.findings == ()
    assert (verdict.links, verdict.unsealed) == (320, 0)
    with transaction() as session:
        order = session.connection().execute(
            text("SELECT transaction_id, a.id FROM audit_link JOIN audit a ON a.id = audit_id ORDER BY sequence")
        )
        positions = [tuple(row) for row in order]
    assert positions == sorted(positions)


def test_adding_a_line_waits_for_no_sealer() -> None:
    _add(1)
    with transaction() as session:
        seal(session, NOW)
        session.flush()

        with transaction() as other:
            other.connection().execute(text("SET LOCAL lock_timeout = 1"))
            _record(other, 2)

    _seal()
    assert _verify().links == 2


@pytest.fixture
def sealed() -> Head:
    """Seal five lines; return the head."""
    _add(1, 2, 3, 4, 5)
    return _seal()[-1]


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'operator:eve'",
        "action = 'thing.undone'",
        "entity = 'thing:9'",
        "before = NULL",
        "after = jsonb_set(after, '{number}', '4')",
        "request_id = 'req_9'",
        "recorded_at = recorded_at + interval '1 microsecond'",
        "transaction_id = transaction_id + 1",
    ],
)
def test_a_change_of_any_column_is_found_where_it_is(sealed: Head, change: str) -> None:
    _tamper(f"UPDATE audit SET {change} WHERE id = 3")  # noqa: S608

    assert _kinds(_verify()) == [("changed", 3)]


def test_a_missing_line_is_found(sealed: Head) -> None:
    _tamper("DELETE FROM audit WHERE id = 3")

    assert _kinds(_verify(sealed)) == [("missing", 3)]


def test_a_line_that_was_removed_with_its_link_is_found(sealed: Head) -> None:
    _tamper("DELETE FROM audit WHERE id = 3", "DELETE FROM audit_link WHERE sequence = 3")

    assert _kinds(_verify()) == [("unlinked", 3)]


def test_closing_the_gap_does_not_hide_it(sealed: Head) -> None:
    _tamper(
        "DELETE FROM audit WHERE id = 3",
        "DELETE FROM audit_link WHERE sequence = 3",
        "UPDATE audit_link SET sequence = sequence - 1 WHERE sequence = 4",
        "UPDATE audit_link SET sequence = sequence - 1 WHERE sequence = 5",
    )

    assert _kinds(_verify()) == [("changed", 3)]


def test_two_links_that_changed_places_are_found(sealed: Head) -> None:
    _tamper(
        "UPDATE audit_link SET sequence = 99 WHERE sequence = 2",
        "UPDATE audit_link SET sequence = 2 WHERE sequence = 4",
        "UPDATE audit_link SET sequence = 4 WHERE sequence = 99",
    )

    assert ("reordered", 2) in _kinds(_verify())


def test_two_lines_that_changed_places_under_their_links_are_found(sealed: Head) -> None:
    _tamper(
        "UPDATE audit_link SET audit_id = 99 WHERE sequence = 2",
        "UPDATE audit_link SET audit_id = 2 WHERE sequence = 4",
        "UPDATE audit_link SET audit_id = 4 WHERE sequence = 2",
    )

    assert _kinds(_verify()) == [("reordered", 2), ("reordered", 4)]
    assert "audit line 2 belongs here" in _verify().findings[0].detail


def test_a_line_that_was_slipped_in_behind_the_head_is_found(sealed: Head) -> None:
    _tamper(
        "INSERT INTO audit (transaction_id, recorded_at, actor, action, entity)"
        " SELECT transaction_id, recorded_at, 'operator:eve', 'thing.done', 'thing:9' FROM audit WHERE id = 1"
    )

    assert _seal() == []
    assert _kinds(_verify()) == [("slipped_in", 0)]


def test_a_tail_that_was_cut_off_is_found_by_a_noted_head(sealed: Head) -> None:
    _tamper("DELETE FROM audit WHERE id > 3", "DELETE FROM audit_link WHERE sequence > 3")

    assert _kinds(_verify()) == []
    assert _kinds(_verify(sealed)) == [("head", 5)]


def test_a_tail_that_was_written_anew_is_found_by_a_noted_head(sealed: Head) -> None:
    _tamper("DELETE FROM audit WHERE id > 3", "DELETE FROM audit_link WHERE sequence > 3")
    _add(6, 7)
    _seal()

    assert _kinds(_verify()) == []
    assert _kinds(_verify(sealed)) == [("head", 5)]


def test_links_alone_that_were_cut_off_come_back_the_same(sealed: Head) -> None:
    _tamper("DELETE FROM audit_link WHERE sequence > 3")

    _seal()

    assert _kinds(_verify(sealed)) == []


def test_lines_restored_from_another_cluster_are_sealed_although_their_transactions_are_yet_to_come() -> None:
    _add(1, 2)
    _tamper("UPDATE audit SET transaction_id = transaction_id + 1000000000")
    _seal()
    _add(3)

    assert _kinds(_verify()) == []
    _seal()
    _add(4)
    _seal()

    assert _kinds(_verify()) == []
    assert _sealed_entities() == ["thing:1", "thing:2", "thing:3", "thing:4"]


def test_sealing_everywhere_takes_in_what_was_left_behind(sealed: Head) -> None:
    _add(6, 7)
    _tamper("UPDATE audit SET transaction_id = 1 WHERE id = 6")
    _seal()
    assert _sealed_entities()[-1] == "thing:7"

    _seal(everywhere=True)

    assert _sealed_entities()[-1] == "thing:6"
    assert _kinds(_verify()) == []


def test_the_head_is_none_until_something_is_sealed() -> None:
    with transaction() as session:
        assert head(session) is None
    _add(1)
    sealed = _seal()

    with transaction() as session:
        assert head(session) == sealed[0]


def test_verifying_reads_one_snapshot_and_can_write_nothing() -> None:
    with transaction() as session:
        verify(session)

        assert session.connection().execute(text("SHOW transaction_read_only")).scalar_one() == "on"
        assert session.connection().execute(text("SHOW transaction_isolation")).scalar_one() == "repeatable read"
