"""How the portal renders a page, and how it refuses: in words for people."""

from pathlib import Path
from typing import Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from payouts.create import Refused
from payouts.portal import Visit
from receiver.closed import ClosedDoor
from receiver.forms import BadForm
from receiver.pages import templates
from receiver.partners.refusals import CODES

_TEMPLATES: Final = templates(Path(__file__).parent / "templates")
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


def _answer(request: Request, error: Exception) -> Response:
    refusal = _not_here(error)
    answer = page(request, "refused.html", None, status=refusal.status, refusal=refusal)
    if refusal.retry_after:
        answer.headers["retry-after"] = str(refusal.retry_after)
    return answer


DOOR: Final = Middleware(ClosedDoor, vary="cookie", own=(NotHere, Refused), answer=_answer)


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
