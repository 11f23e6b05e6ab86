"""Signing in and out."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.audit import record
from models.database import transaction
from receiver.forms import check_same_site, read_form
from receiver.operators.identity import COOKIE, SESSION_SECONDS, password_is_right, sealed_session
from receiver.operators.pages import page
from receiver.operators.refusals import Refusal, is_script
from settings import settings

HOME: Final = "/ops/stuck"

_WRONG: Final = "The name or the password is wrong."

_log = structlog.get_logger(__name__)


def ask(request: Request) -> Response:
    """GET: show the form."""
    return _form(request, request.query_params.get("next", ""))


async def sign_in(request: Request) -> Response:
    """POST: check name and password, set the cookie, and go where the operator wanted to go."""
    check_same_site(request)
    fields = await read_form(request)
    name, wanted = fields.get("name", ""), fields.get("next", "")
    if not await password_is_right(request, name, fields.get("password", "")):
        _log.info("operator.refused")  # without the name: people type passwords into it
        if is_script(request):
            raise Refusal(401, "wrong_password", _WRONG)
        return _form(request, wanted, wrong=_WRONG)
    await run_in_threadpool(_record, name)
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
    check_same_site(request)
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


def _record(name: str) -> None:
    with transaction() as session:
        record(
            session,
            actor=f"operator:{name}",
            action="operator.signed_in",
            entity=f"operator:{name}",
            before=None,
            after=None,
            now=datetime.now(UTC),
        )


def _form(request: Request, wanted: str, wrong: str | None = None) -> Response:
    return page(request, "sign_in.html", {"next": safe_next(wanted), "wrong": wrong}, status=401 if wrong else 200)
