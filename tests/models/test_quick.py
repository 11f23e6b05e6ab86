"""The quick way to the database differs from the usual one in nothing but its pace."""

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models import database
from models.database import Quick, transaction
from settings import settings

pytestmark = pytest.mark.usefixtures("database")


def test_rows_have_names_and_parameters_theirs() -> None:
    with transaction() as session:
        row = Quick("SELECT :left || '%' AS both, CAST(:left AS text)::varchar AS one").run(session, {"left": "a"})

        assert row.fetchone() == ("a%", "a")


def test_it_sees_and_shares_the_sessions_transaction() -> None:
    with transaction() as session:
        Quick("INSERT INTO organisation (id, name, created_at) VALUES (:id, :id, now())").run(session, {"id": "org_q"})
        assert session.connection().execute(text("SELECT name FROM organisation")).scalar() == "org_q"
        session.rollback()

    with transaction() as session:
        assert Quick("SELECT FROM organisation").run(session, {}).rowcount == 0


def test_what_the_database_refuses_is_raised_as_sqlalchemy_raises_it_without_the_values() -> None:
    add = Quick("INSERT INTO organisation (id, name, created_at) VALUES (:id, 'same', now())")

    with transaction() as session:
        add.run(session, {"id": "org_secret"})
        with pytest.raises(IntegrityError) as refused:
            add.run(session, {"id": "org_secret"})
        session.rollback()

    assert isinstance(refused.value.orig, psycopg.errors.UniqueViolation)
    assert refused.value.params is None


@pytest.fixture
def cut_off() -> None:
    """Have the server close every connection that rests in the pool."""
    with transaction() as session:
        session.connection().execute(text("SELECT 1"))
    with psycopg.connect(settings().database_url, autocommit=True) as outside:
        outside.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )


def test_a_connection_that_was_cut_off_while_it_rested_is_replaced(
    cut_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "RESTED_SECONDS", 0.0)

    with transaction() as session:
        assert session.connection().execute(text("SELECT 1")).scalar() == 1
