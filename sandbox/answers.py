"""The ways an API call can go that are no ordinary answer: a refusal, a body that is no JSON, no answer at all."""

import json
from decimal import Decimal
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Document = dict[str, Any]

SERVER_SEND: Final = "sandbox.server_send"
"""Where the outermost application leaves the server's own `send` in the scope, for `HangUp`."""


class Refused(Exception):
    """The gateway says no: an HTTP status, a text, and the field at fault where there is one."""

    def __init__(self, status: int, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.status, self.detail, self.field = status, detail, field


class HangUp(Response):
    """No answer at all: the connection is closed, and the caller cannot know what was carried out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the connection and wait until the server has noticed.

        ASGI has no word for this, so it reaches for uvicorn's transport; under a server that hides it the
        connection stays open until the caller gives up, which teaches the same lesson more slowly.
        """
        del send
        transport = getattr(getattr(scope[SERVER_SEND], "__self__", None), "transport", None)
        if transport is not None:
            transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass


async def read_json(request: Request) -> Any:
    """Return the request's JSON, its numbers exact. Raises `Refused` with 400."""
    try:
        return json.loads(await request.body(), parse_float=Decimal, parse_constant=_no_number)
    except ValueError:
        raise Refused(400, "The request body is not valid JSON") from None


def _no_number(word: str) -> None:
    raise ValueError(word)
