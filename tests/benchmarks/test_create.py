"""What pgbench runs is what a creation runs: with new ids each time, and books that are right afterwards."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import create, payers
from benchmarks.place import Place
from benchmarks.statements import catching, script
from benchmarks.traffic import SLUG
from embedded.binaries import postgres_folder
from models.database import transaction
from payouts.books import prove
from receiver.partners import limits
from settings import settings
from tests.factories import an_integration


def test_ids_of_ours_are_new_in_every_transaction_and_a_partners_own_are_not() -> None:
    ours, partners = "pay_" + "1" * 28, "org_" + "0" * 28

    written = script([("SELECT %(a)s, %(b)s, %(c)s", {"a": ours, "b": partners, "c": 5})], lasting=["org_"], others={})

    assert "'pay_' || lpad(to_hex(CAST(:id AS bigint)), 28, '0')" in written.text
    assert "'org_' || lpad(to_hex(CAST(:partner AS bigint)), 28, '0')" in written.text
    assert list(written.variables.values()) == ["5"]


def test_only_what_is_sent_meanwhile_is_caught(database: None) -> None:
    with catching() as caught, transaction() as session:
        session.connection().exec_driver_sql("SELECT 1")
    with transaction() as session:
        session.connection().exec_driver_sql("SELECT 2")

    assert [statement for statement, _ in caught] == ["SELECT 1"]


def test_pgbench_makes_payouts_as_whole_as_the_doors(
    database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (postgres_folder() / "pgbench").exists():
        pytest.skip("this PostgreSQL came without pgbench")
    monkeypatch.setattr(limits, "quota", lambda: 1_000_000)
    an_integration("paycore", slug=SLUG)
    place = Place(settings().database_url, settings().redis_url)
    with payers.payers(place, "http://127.0.0.1:9/hooks") as keys:
        payers.pay_in(place)
        caught = asyncio.run(create.one_creation(keys[0]))
        payers.pay_in(place)

        written = create.same_statements(caught, partners=payers.PAYERS)
        create.run_pgbench(place, written, tmp_path / "creation.sql", ("-t", "3", "-c", "2"))

        assert create.number_created(place) == 6
        with transaction() as session:
            assert not prove(session, datetime.now(UTC)).violations
