"""What holds for every answer under /ops.

Closed headers, refusals as people or scripts read them, and 503 while the database is away. Plain ASGI, because
Starlette's BaseHTTPMiddleware costs most of the rate.
"""

from typing import Final

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.operators.refusals import Refusal

_HEADERS: Final = [
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self' data:;"  # noqa: ISC004 (one value)
        b" form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # `no-referrer` would make browsers send `Origin: null` with our own forms, and they would look cross-site.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"vary", b"cookie, authorization, accept"),
]

_CODES: Final = {404: "not_found", 405: "method_not_allowed"}

_log = structlog.get_logger(__name__)


class OperatorsDoor:
    """Wraps the operators' routes."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` answers, or raises `Refusal`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_started = False

        async def send_closed(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        try:
            await self._app(scope, receive, send_closed)
        except (Refusal, HTTPException, OperationalError, InterfaceError, PoolTimeoutError) as error:
            if has_started:
                raise
            await _refusal(error).answer(Request(scope))(scope, receive, send_closed)


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return Refusal(error.status_code, _CODES.get(error.status_code, "refused"), error.detail)
    _log.warning("operators.database_away", error=type(error).__name__)
    return Refusal(
        503,
        "database_away",
        "The database does not answer",
        detail="Nothing can be shown until it is back. What gateways send meanwhile is refused and comes again.",
        retry_after=5,
    )
