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

from receiver.forms import BadForm
from receiver.operators.refusals import Refusal
from receiver.pages import CLOSED

_HEADERS: Final = [*CLOSED, (b"vary", b"cookie, authorization, accept")]

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
        except (Refusal, BadForm, HTTPException, OperationalError, InterfaceError, PoolTimeoutError) as error:
            if has_started:
                raise
            await _refusal(error).answer(Request(scope))(scope, receive, send_closed)


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, BadForm):
        return Refusal(error.status, error.code, str(error))
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
