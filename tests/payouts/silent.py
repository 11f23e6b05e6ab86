"""Payouts that have gone quiet, and the report that should tell of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from models.database import transaction
from models.integration import Integration
from payouts.report import Filters, StuckReport
from payouts.stuck import find_stuck
from tests.factories import a_payout


def stuck(filters: Filters | None = None, limit: int = 200) -> StuckReport:
    with transaction() as session:
        return find_stuck(session, datetime.now(UTC), filters or Filters(), limit)


def a_silent_payout(
    integration: Integration | None = None, silent_for: timedelta = timedelta(days=30), **columns: Any
) -> str:
    facts = {"last_evidence_source": "poll", "last_evidence_at": datetime.now(UTC)} | columns
    return a_payout(integration, advanced_at=datetime.now(UTC) - silent_for, **facts).id


def change(statement: str) -> None:
    with transaction() as session:
        session.connection().execute(text(statement))
