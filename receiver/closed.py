"""What holds for every door that has pages: closed headers on every answer, and refusals as its visitors read them.

Plain ASGI, because Starlette's BaseHTTPMiddleware costs most of the rate.
"""

from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.forms import BadForm
from receiver.pages import CLOSED

REFUSALS: Final = (BadForm, HTTPException, OperationalError, InterfaceError, PoolTimeoutError)
"""What any door may come upon: a form that is not taken, an unknown path, a database that is away."""


class ClosedDoor:
    """Wraps a door's routes."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        vary: str,
        own: tuple[type[Exception], ...],
        answer: Callable[[Request, Exception], Response],
    ) -> None:
        """`answer` renders one of `REFUSALS` or of the door's `own`; what else `app` raises is a bug and goes on."""
        self._app = app
        self._headers = [*CLOSED, (b"vary", vary.encode())]
        self._refusals: tuple[type[Exception], ...] = (*own, *REFUSALS)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_started = False

        async def send_closed(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        try:
            await self._app(scope, receive, send_closed)
        except self._refusals as error:
            if has_started:
                raise
            await self._answer(Request(scope), error)(scope, receive, send_closed)
