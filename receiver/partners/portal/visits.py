"""Who is visiting: a sealed cookie that names an opened link, looked up with every request, so that it ends at once."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from models.database import transaction
from models.sealed import CannotOpen, seal, unseal
from payouts.portal import VISIT, Visit, find_visit
from receiver.forms import check_same_site, read_form
from receiver.partners.limits import OwnBuckets
from receiver.partners.portal.door import NotHere
from receiver.partners.portal.places import HOME
from settings import settings
from workers.once import Once

COOKIE: Final = "ratchet_portal"
THREADS: Final = 4
"""Pages at once, beside the API's own."""

Look = Callable[[Request, Visit], Response]
"""Shows a page, in a thread; may block."""
Act = Callable[[Request, Visit, dict[str, str]], Response]
"""Does what a form asks for, in a thread; may block."""
Endpoint = Callable[[Request], Awaitable[Response]]

_THREADS: Final = CapacityLimiter(THREADS)
_BUCKETS: Final = Once(OwnBuckets)


def looking(look: Look) -> Endpoint:
    """Return the endpoint of a page."""

    async def endpoint(request: Request) -> Response:
        return await to_thread.run_sync(lambda: look(request, _visit(request)), limiter=_THREADS)

    return endpoint


def acting(act: Act) -> Endpoint:
    """Return the endpoint of a form: one of our own pages must have sent it."""

    async def endpoint(request: Request) -> Response:
        check_same_site(request)
        fields = await read_form(request)
        return await to_thread.run_sync(lambda: act(request, _visit(request), fields), limiter=_THREADS)

    return endpoint


in_thread: Final = partial(to_thread.run_sync, limiter=_THREADS)


def remember(response: Response, visit: Visit) -> None:
    """Set the cookie of a visit that begins."""
    response.set_cookie(
        COOKIE,
        seal({"link": visit.link_id, "kind": "portal"}).decode(),
        max_age=int(VISIT.total_seconds()),
        path=HOME,
        secure=settings().secure_cookies,
        httponly=True,
        samesite="strict",
    )


def forget(response: Response) -> None:
    """Take the cookie back."""
    response.delete_cookie(COOKIE, path=HOME, secure=settings().secure_cookies, httponly=True, samesite="strict")


def _visit(request: Request) -> Visit:
    """Return whose cookie this is. Raises `NotHere`."""
    visit = _by_cookie(request.cookies.get(COOKIE, ""))
    if visit is None:
        raise NotHere(
            403, "no_visit", "This page opens with a link", "Ask whoever gave you the last one for a new one."
        )
    wait = _BUCKETS().take(visit.link_id).wait_seconds
    if wait:
        raise NotHere(429, "too_many_requests", "Too many requests", "Wait a moment.", retry_after=wait)
    return visit


def _by_cookie(cookie: str) -> Visit | None:
    try:
        opened = unseal(cookie.encode(), max_age_seconds=int(VISIT.total_seconds()))
        link_id: str = opened["link"] if opened["kind"] == "portal" else ""
    except (CannotOpen, KeyError, TypeError, UnicodeEncodeError):
        return None
    with transaction() as session:
        return find_visit(session, link_id, datetime.now(UTC))
