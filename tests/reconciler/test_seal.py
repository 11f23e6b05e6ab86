"""The sealing job: everything that can be chained is, and the log tells the head."""

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from models.audit import record
from models.audit_chain import head
from models.audit_check import verify
from models.database import transaction
from reconciler import seal

pytestmark = pytest.mark.usefixtures("database")


def _add(number: int) -> None:
    with transaction() as session:
        for _ in range(number):
            record(session, actor="system", action="a.b", entity="c", before=None, after=None, now=datetime.now(UTC))


def test_one_run_seals_many_rounds_and_the_log_tells_the_head() -> None:
    _add(2_500)

    with capture_logs() as lines:
        seal.seal_audit()

    with transaction() as session:
        newest = head(session)
    assert lines == [{"event": "audit.sealed", "log_level": "info", "links": 2_500, "head": str(newest)}]
    with transaction() as session:
        verdict = verify(session)
    assert (verdict.links, verdict.unsealed, verdict.findings) == (2_500, 0, ())


def test_a_run_that_finds_nothing_says_nothing() -> None:
    with capture_logs() as lines:
        seal.seal_audit()

    assert lines == []
