"""The stuck-payout report: as a page, as CSV and as JSON, with the same filters."""

import csv
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import urlencode

import orjson
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import Response

from connectors import NAMES
from models.database import transaction
from models.lifecycle import PayoutStatus
from payouts.attention import read_attention
from payouts.reasons import StuckReason
from payouts.report import Filters, StuckPayout, StuckReport
from payouts.silence import read_silences
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

_Word = TypeVar("_Word", bound=StrEnum)


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
        "choices": {
            "gateway": sorted({*NAMES, *(silence.gateway for silence in report.silences)}),
            "integration": [silence.slug for silence in report.silences],
            "status": list(PayoutStatus),
            "reason": list(StuckReason),
        },
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
    """Read the filters; an empty one is none. Raises `Refusal` for a value that nothing could have."""
    silences = read_silences(session)
    return Filters(
        gateway=_one_of(given, "gateway", {*NAMES, *(silence.gateway for silence in silences)}),
        integration=_one_of(given, "integration", {silence.slug for silence in silences}),
        status=_word(given, "status", PayoutStatus),
        reason=_word(given, "reason", StuckReason),
    )


def _one_of(given: Mapping[str, str], name: str, known: Collection[str]) -> str | None:
    value = given.get(name) or None
    if value is not None and value not in known:
        raise Refusal(400, "invalid_filter", f"There is no such {name}", detail=f"Known: {', '.join(sorted(known))}")
    return value


def _word(given: Mapping[str, str], name: str, words: type[_Word]) -> _Word | None:
    value = _one_of(given, name, set(words))
    return None if value is None else words(value)
