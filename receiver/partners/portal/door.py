"""What holds for every page of the portal: closed headers, and refusals as people read them."""

from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from payouts.create import Refused
from payouts.portal import Visit
from receiver.forms import BadForm
from receiver.pages import CLOSED, templates
from receiver.partners.refusals import CODES

_TEMPLATES: Final = templates(Path(__file__).parent / "templates")
_HEADERS: Final = [*CLOSED, (b"vary", b"cookie")]
_NOWHERE: Final = ("not_found", "There is nothing here")

_log = structlog.get_logger(__name__)


class NotHere(Exception):
    """A page is refused. `status` and `title` are shown, `detail` tells what to do."""

    def __init__(self, status: int, code: str, title: str, detail: str = "", *, retry_after: int = 0) -> None:
        super().__init__(title)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.retry_after = retry_after


def page(request: Request, template: str, visit: Visit | None, *, status: int = 200, **context: Any) -> Response:
    """Render a page, in the frame that says whose it is."""
    return _TEMPLATES.TemplateResponse(request, template, {"visit": visit, **context}, status_code=status)


class PortalDoor:
    """Wraps the portal's routes, inside the partners' door."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` answers, or raises."""
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
        except (NotHere, Refused, BadForm, HTTPException, OperationalError, InterfaceError, PoolTimeoutError) as error:
            if has_started:
                raise
            refusal = _not_here(error)
            answer = page(Request(scope), "refused.html", None, status=refusal.status, refusal=refusal)
            if refusal.retry_after:
                answer.headers["retry-after"] = str(refusal.retry_after)
            await answer(scope, receive, send_closed)


def _not_here(error: Exception) -> NotHere:
    if isinstance(error, NotHere):
        return error
    if isinstance(error, Refused):
        status, title = CODES.get(error.code, (409, "This cannot be done now"))
        return NotHere(status, error.code, title, str(error))
    if isinstance(error, BadForm):
        return NotHere(error.status, error.code, str(error))
    if isinstance(error, HTTPException):
        return NotHere(error.status_code, *_NOWHERE)
    _log.warning("portal.database_away", error=type(error).__name__)
    return NotHere(503, "unavailable", "This cannot be shown now", "Look again in a moment.", retry_after=5)
