"""How the operators' door refuses: a page or a problem document, and 503 while the database is away."""

from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from receiver.closed import ClosedDoor
from receiver.forms import BadForm
from receiver.operators.refusals import Refusal

_CODES: Final = {404: "not_found", 405: "method_not_allowed"}

_log = structlog.get_logger(__name__)


def _answer(request: Request, error: Exception) -> Response:
    return _refusal(error).answer(request)


DOOR: Final = Middleware(ClosedDoor, vary="cookie, authorization, accept", own=(Refusal,), answer=_answer)


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
