"""Who is asking: a sealed cookie, or a name and password with the request itself."""

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.database import transaction
from models.passwords import LONGEST_NAME, LONGEST_PASSWORD, password_hash_of, password_matches
from models.sealed import CannotOpen, seal, unseal
from receiver.forms import check_same_site, read_form
from receiver.operators.guesses import Guesses
from receiver.operators.refusals import Refusal

COOKIE: Final = "ratchet_operator"
SESSION_SECONDS: Final = 12 * 3600

View = Callable[[Request, str], Response]
"""Answers one operator, in a thread; may block."""
Act = Callable[[Request, str, Mapping[str, str]], Response]
"""Does what an operator asks for by a form, in a thread; may block."""
Endpoint = Callable[[Request], Awaitable[Response]]

_HASHING: Final = CapacityLimiter(2)
"""At once. Each takes 16 MiB and a core: strangers must not be able to make us compute many at once."""

_GUESSES: Final = Guesses()


def sealed_session(name: str) -> str:
    """Return the cookie's value for somebody whose password was right."""
    return seal({"operator": name, "kind": "session"}).decode()


def for_people(view: View) -> Endpoint:
    """Return an endpoint that sends whoever has not signed in to the sign-in page, and back afterwards."""

    async def endpoint(request: Request) -> Response:
        operator = await run_in_threadpool(_by_cookie, request)
        if operator is None:
            asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/ops/sign-in?next={quote(asked, safe='')}", 303)
        return await run_in_threadpool(view, request, operator)

    return endpoint


def for_forms(act: Act) -> Endpoint:
    """Return an endpoint that takes a form of ours from somebody who has signed in."""

    async def endpoint(request: Request) -> Response:
        check_same_site(request)
        operator = await run_in_threadpool(_by_cookie, request)
        if operator is None:
            raise Refusal(401, "not_signed_in", "Sign in first: nothing was changed")
        fields = await read_form(request)
        return await run_in_threadpool(act, request, operator, fields)

    return endpoint


def for_scripts(view: View) -> Endpoint:
    """Return an endpoint that takes HTTP Basic as well as the cookie, and answers 401 to anybody else."""

    async def endpoint(request: Request) -> Response:
        operator = await run_in_threadpool(_by_cookie, request) or await _by_basic(request)
        if operator is None:
            raise Refusal(401, "not_signed_in", "Sign in, or send an operator's name and password by HTTP Basic")
        return await run_in_threadpool(view, request, operator)

    return endpoint


async def password_is_right(request: Request, name: str, password: str) -> bool:
    """Check a password. An unknown name costs the same. Raises `Refusal` 429 after too many tries."""
    peer, known_by = request.client.host if request.client else "", name[:LONGEST_NAME]
    wait = _GUESSES.wait_seconds(known_by, peer)
    if wait:
        raise Refusal(429, "too_many_tries", "Too many wrong passwords; wait a minute", retry_after=wait)
    password_hash = await run_in_threadpool(_kept, name)
    is_right = await to_thread.run_sync(
        password_matches, password[: LONGEST_PASSWORD + 1], password_hash, limiter=_HASHING
    )
    if is_right:
        _GUESSES.forget(known_by, peer)
    return is_right


def _kept(name: str) -> bytes | None:
    with transaction() as session:
        return password_hash_of(session, name)


def _by_cookie(request: Request) -> str | None:
    """Return who the cookie names, if it is ours, young enough, and its operator still exists."""
    try:
        session = unseal(request.cookies.get(COOKIE, "").encode(), max_age_seconds=SESSION_SECONDS)
        is_session = session["kind"] == "session"
        name: str = session["operator"]
    except (CannotOpen, KeyError, TypeError, UnicodeEncodeError):
        return None
    return name if is_session and _kept(name) is not None else None


async def _by_basic(request: Request) -> str | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return name if colon and await password_is_right(request, name, password) else None
