"""GET /track/{token}: the page for whoever waits for the money. It needs no script; with one it is live."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final

import orjson
import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from models.database import transaction
from models.lifecycle import PayoutStatus
from payouts.track import Tracked, tracked
from receiver.pages import templates
from receiver.partners.refusals import Refusal

LONGEST_LINE: Final = 64

_FOLDER: Final = Path(__file__).parent / "pages"
_TEMPLATES: Final = templates(_FOLDER)
_FILES: Final = {"/track/track.css": _FOLDER / "track.css", "/track/track.js": _FOLDER / "track.js"}
_VERSION: Final = sha256(b"".join(path.read_bytes() for path in _FILES.values())).hexdigest()[:12]
"""In the addresses of script and stylesheet, so that they may be kept for ever."""

_THREADS: Final = CapacityLimiter(4)
"""Nobody has to show a key here, so no more than a few may keep the database busy."""

CLOSED: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:;"
    " connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex, nofollow, noarchive",
    "referrer-policy": "no-referrer",  # the address is the key
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "private, no-store",
}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a status reads."""

    title: str
    meaning: str


READINGS: Final = {
    PayoutStatus.PENDING: _Reading("Being prepared", "It has been ordered and will be on its way soon."),
    PayoutStatus.SCHEDULED: _Reading("Scheduled", "It waits for the day on which it leaves."),
    PayoutStatus.INITIATED: _Reading("Under way", "It is being carried out."),
    PayoutStatus.BROADCAST: _Reading("With the bank or network", "It has been handed over and is about to arrive."),
    PayoutStatus.DELIVERED: _Reading("Delivered", "It has arrived."),
    PayoutStatus.CANCELED: _Reading("Called off", "It was called off before it left. No money has moved."),
    PayoutStatus.FAILED: _Reading("Did not arrive", "It could not be paid out. Ask whoever sent it what happens next."),
    PayoutStatus.RETURNED: _Reading("Came back", "It has gone back to whoever sent it. Ask them what happens next."),
}

_AHEAD: Final = (PayoutStatus.INITIATED, PayoutStatus.BROADCAST, PayoutStatus.DELIVERED)
"""What normally comes."""


async def show(request: Request) -> Response:
    """Answer with the page, or with 304 to a script that has it already."""
    request.scope["ratchet.route"] = "/track/{token}"
    if _THREADS.statistics().tasks_waiting > LONGEST_LINE:
        raise Refusal("overloaded")
    try:
        payout = await to_thread.run_sync(_read, request.path_params["token"], limiter=_THREADS)
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        _log.warning("track.database_away", error=type(error).__name__)
        return _page(request, HTTPStatus.SERVICE_UNAVAILABLE, None)
    if payout is None:
        return _page(request, HTTPStatus.NOT_FOUND, None)
    if request.headers.get("if-none-match") == (mark := etag(payout)):
        return Response(status_code=304, headers={**CLOSED, "etag": mark})
    return _page(request, HTTPStatus.OK, payout)


def etag(payout: Tracked) -> str:
    """Return what changes exactly when what is shown does; the time of day is not part of it."""
    return f'"{_VERSION}-{sha256(orjson.dumps(asdict(payout))).hexdigest()[:16]}"'


def ahead(status: PayoutStatus, steps: Sequence[PayoutStatus]) -> list[PayoutStatus]:
    """Return what normally still comes after a status."""
    if status in (PayoutStatus.PENDING, PayoutStatus.SCHEDULED):
        return list(_AHEAD)
    return [each for each in _AHEAD[_AHEAD.index(status) + 1 :] if each not in steps] if status in _AHEAD else []


def _read(token: str) -> Tracked | None:
    with transaction() as session:
        return tracked(session, token)


def _page(request: Request, status: HTTPStatus, payout: Tracked | None) -> Response:
    mark = etag(payout) if payout else None
    context = {
        "payout": payout,
        "etag": mark,
        "readings": READINGS,
        "ahead": ahead(payout.status, [step.status for step in payout.steps]) if payout else [],
        "now": datetime.now(UTC),
        "version": _VERSION,
        "is_away": status == HTTPStatus.SERVICE_UNAVAILABLE,
    }
    headers = {**CLOSED, **({"etag": mark} if mark else {})}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = "5"
    return _TEMPLATES.TemplateResponse(request, "track.html", context, status_code=int(status), headers=headers)


def _file(request: Request) -> Response:
    is_named = request.query_params.get("v") == _VERSION
    kept = "public, max-age=31536000, immutable" if is_named else "no-cache"
    return FileResponse(_FILES[request.url.path], headers={"cache-control": kept})


ROUTES: Final[list[BaseRoute]] = [*(Route(path, _file) for path in _FILES), Route("/track/{token}", show)]
