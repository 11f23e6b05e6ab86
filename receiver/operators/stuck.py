"""The stuck-payout report: as a page, as CSV and as JSON, with the same filters."""

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

import orjson
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import Response

from models.database import transaction
from payouts.attention import read_attention
from payouts.narrowing import choices, narrowed_by
from payouts.refused import Refused
from payouts.report import Filters, StuckPayout, StuckReport
from payouts.stuck import find_stuck, walk_stuck
from receiver.operators.pages import page
from receiver.operators.refusals import Refusal
from receiver.operators.spool import answer, spool

MOST_SHOWN: Final = 200

COLUMNS: Final = (
    "id",
    "gateway",
    "integration",
    "organisation",
    "order_key",
    "gateway_reference",
    "amount",
    "currency",
    "status",
    "submission",
    "reason",
    "stuck_since",
    "age_seconds",
    "threshold_seconds",
    "last_evidence_at",
    "last_evidence_source",
    "polls",
    "poll_failures",
    "poll_failure",
    "next_poll_at",
)

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def show(request: Request, operator: str) -> Response:
    """Show the page."""
    now = datetime.now(UTC)
    with transaction() as session:
        report = find_stuck(session, now, _filters(session, request.query_params), MOST_SHOWN)
        attention = read_attention(session, now)
    asked = {name: value for name, value in request.query_params.items() if value}
    context = {
        "operator": operator,
        "report": report,
        "attention": attention,
        "asked": asked,
        "query": f"?{urlencode(asked)}" if asked else "",
        "choices": choices(report.silences),
    }
    return page(request, "stuck.html", context)


def as_csv(request: Request, operator: str) -> Response:
    """Answer every row as a spreadsheet reads them."""
    del operator
    with spool() as sheet, transaction() as session:
        report, stuck = _everything(session, request)
        writer = csv.writer(sheet)
        writer.writerow(COLUMNS)
        for payout in stuck:
            row = payout.document()
            writer.writerow([_cell(row[column]) for column in COLUMNS])
    headers = {
        "content-disposition": f'attachment; filename="stuck-payouts-{report.as_of:%Y%m%dT%H%M%SZ}.csv"',
        "x-total-count": str(report.total),
    }
    return answer(sheet, "text/csv", headers)


def as_json(request: Request, operator: str) -> Response:
    """Answer every row and the totals as one JSON document."""
    del operator
    with spool() as document, transaction() as session:
        report, stuck = _everything(session, request)
        document.write('{"stuck":[')
        for number, payout in enumerate(stuck):
            document.write("," * bool(number) + orjson.dumps(payout.document()).decode())
        document.write("]," + orjson.dumps(report.summary()).decode().removeprefix("{"))
    return answer(document, "application/json")


def _everything(session: Session, request: Request) -> tuple[StuckReport, Iterator[StuckPayout]]:
    return walk_stuck(session, datetime.now(UTC), _filters(session, request.query_params))


def _cell(value: object) -> object:
    """Defuse text that a spreadsheet would run as a formula: order keys are the partners' own words."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _filters(session: Session, given: Mapping[str, str]) -> Filters:
    """Read the filters. Raises `Refusal` for a value that nothing could have."""
    try:
        return narrowed_by(session, given)
    except Refused as refused:
        raise Refusal(400, refused.code, "There is no such choice", detail=str(refused)) from None
