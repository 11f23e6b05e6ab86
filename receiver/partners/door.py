"""What holds for every answer of the partners' door.

A Request-Id, closed headers, refusals as problem documents, 503 while the database is away and 500 without a word
about why. Plain ASGI, because Starlette's BaseHTTPMiddleware costs most of the rate.
"""

import time
from typing import Any, Final

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.ids import new_id
from receiver.partners.refusals import Refusal

CLOSED: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

_CODES: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}

_log = structlog.get_logger(__name__)


class PartnersDoor:
    """Wraps the partners' routes."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` answers, or raises."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        request_id = new_id("req")
        own: dict[str, str] = {}
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "headers": own}

        async def send_closed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _headers(message["headers"], request_id, own)}
            await send(message)

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                await self._app(scope, receive, send_closed)
            except Exception as error:
                if status:
                    raise
                await _refusal(error).problem().send(send_closed)
            took_ms = round((time.monotonic() - began) * 1000)
            _log.info("api.answered", method=scope["method"], route=_route(scope), status=status, ms=took_ms)


def _headers(given: list[tuple[bytes, bytes]], request_id: str, own: dict[str, str]) -> list[tuple[bytes, bytes]]:
    present = {name for name, _ in given}
    more = [(name.encode(), value.encode()) for name, value in {"request-id": request_id, **own}.items()]
    return [*given, *(pair for pair in [*more, *CLOSED] if pair[0] not in present)]


def _route(scope: Scope) -> Any:
    """Return the route's pattern: the path itself may hold what nobody should read in a log."""
    return scope.get("ratchet.route", "?")


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return Refusal(_CODES.get(error.status_code, "not_found"), allow=(error.headers or {}).get("Allow", ""))
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        _log.warning("api.database_away", error=type(error).__name__)
        return Refusal("unavailable", "Nothing was done, or it will be found under the same Idempotency-Key.")
    _log.error("api.failed", exc_info=error)
    return Refusal("internal_error", "It is on record under the Request-Id of this answer.")
