"""Signing in and out."""

import asyncio
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.operators.identity import COOKIE, SESSION_SECONDS, password_is_right, sealed_session
from receiver.operators.pages import page
from receiver.operators.refusals import Refusal, is_script
from settings import settings

HOME: Final = "/ops/stuck"
LARGEST_FORM: Final = 8 * 1024
MOST_FIELDS: Final = 10
FORM_TIMEOUT_SECONDS: Final = 10.0

_WRONG: Final = "The name or the password is wrong."

_log = structlog.get_logger(__name__)


def ask(request: Request) -> Response:
    """GET: show the form."""
    return _form(request, request.query_params.get("next", ""))


async def sign_in(request: Request) -> Response:
    """POST: check name and password, set the cookie, and go where the operator wanted to go."""
    _same_site(request)
    fields = await _fields(request)
    name, wanted = fields.get("name", ""), fields.get("next", "")
    if not await password_is_right(request, name, fields.get("password", "")):
        _log.info("operator.refused")  # without the name: people type passwords into it
        if is_script(request):
            raise Refusal(401, "wrong_password", _WRONG)
        return _form(request, wanted, wrong=_WRONG)
    _log.info("operator.signed_in", operator=name)
    response = RedirectResponse(safe_next(wanted), 303)
    response.set_cookie(
        COOKIE,
        sealed_session(name),
        max_age=SESSION_SECONDS,
        path="/ops",
        secure=settings().secure_cookies,
        httponly=True,
        samesite="strict",
    )
    return response


async def sign_out(request: Request) -> Response:
    """POST: forget the cookie."""
    _same_site(request)
    response = RedirectResponse("/ops/sign-in", 303)
    response.delete_cookie(COOKIE, path="/ops", secure=settings().secure_cookies, httponly=True, samesite="strict")
    return response


def safe_next(wanted: str) -> str:
    """Return `wanted` if it is a page of ours, else the report: a link must not carry an operator off to a stranger."""
    is_plain = wanted.isascii() and wanted.isprintable() and not set(wanted) & {"\\", " "}
    if not is_plain or not wanted.startswith("/ops/"):
        return HOME
    parts = urlsplit(wanted)
    is_ours = not parts.scheme and not parts.netloc and not parts.path.startswith("/ops/sign-")
    return wanted if is_ours else HOME


def _form(request: Request, wanted: str, wrong: str | None = None) -> Response:
    return page(request, "sign_in.html", {"next": safe_next(wanted), "wrong": wrong}, status=401 if wrong else 200)


def _same_site(request: Request) -> None:
    """Refuse a form that another site has sent. What sends neither header is no browser, and carries no cookie."""
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None:
        is_ours = fetch_site in {"same-origin", "none"}
    else:
        origin = request.headers.get("origin")
        is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_ours:
        raise Refusal(403, "cross_site", "This form was sent from another site")


async def _fields(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Refusal(415, "not_a_form", "Send a form: application/x-www-form-urlencoded")
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_TIMEOUT_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_FORM:
                    raise Refusal(413, "body_too_large", "The form is larger than 8 KiB")
        return dict(parse_qsl(body.decode(), max_num_fields=MOST_FIELDS))
    except TimeoutError:
        raise Refusal(408, "body_too_slow", "The form did not arrive in time") from None
    except ValueError:
        raise Refusal(400, "malformed_form", "The form cannot be read") from None
