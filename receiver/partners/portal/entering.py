"""Coming and going.

Opening the link shows a button, and the button opens it: mail scanners and chat previews follow links, and would
otherwise use up what can be opened once. From then on the token is in no URL any more.
"""

from datetime import UTC, datetime

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.database import transaction
from payouts.portal import Visit, can_be_opened, end, open_link
from receiver.forms import check_same_site
from receiver.partners.portal.door import page
from receiver.partners.portal.places import HOME
from receiver.partners.portal.visits import forget, in_thread, remember

_log = structlog.get_logger(__name__)


async def ask(request: Request) -> Response:
    """GET: show the button, if the link can be opened."""
    token = request.path_params["token"]
    is_fresh = await in_thread(_is_fresh, token)
    return page(request, "enter.html", None, status=200 if is_fresh else 410, is_fresh=is_fresh)


async def enter(request: Request) -> Response:
    """POST: open the link and begin the visit."""
    check_same_site(request)
    visit = await in_thread(_open, request.path_params["token"])
    _log.info("portal.entered", link=visit.link_id)
    response = RedirectResponse(HOME, 303)
    remember(response, visit)
    return response


def leave(request: Request, visit: Visit, _: dict[str, str]) -> Response:
    """POST: end the visit for good."""
    with transaction() as session:
        end(session, visit.sight, visit.link_id, actor=visit.actor, now=datetime.now(UTC))
    response = page(request, "left.html", None)
    forget(response)
    return response


def _is_fresh(token: str) -> bool:
    with transaction() as session:
        return can_be_opened(session, token, datetime.now(UTC))


def _open(token: str) -> Visit:
    with transaction() as session:
        return open_link(session, token, datetime.now(UTC))
