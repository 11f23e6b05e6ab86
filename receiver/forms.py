"""Forms: bounded, read once, and taken only from our own pages."""

import asyncio
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

LARGEST_FORM: Final = 8 * 1024
MOST_FIELDS: Final = 10
FORM_TIMEOUT_SECONDS: Final = 10.0


class BadForm(Exception):
    """The form is not taken. A door answers it in its own way."""

    def __init__(self, status: int, code: str, title: str) -> None:
        """`code` is for machines, `title` for people."""
        super().__init__(title)
        self.status = status
        self.code = code


def check_same_site(request: Request) -> None:
    """Refuse a form that another site has sent. What sends neither header is no browser, and carries no cookie.

    Raises `BadForm`.
    """
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None:
        is_ours = fetch_site in {"same-origin", "none"}
    else:
        origin = request.headers.get("origin")
        is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_ours:
        raise BadForm(403, "cross_site", "This form was sent from another site")


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises `BadForm`."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise BadForm(415, "not_a_form", "Send a form: application/x-www-form-urlencoded")
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_TIMEOUT_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_FORM:
                    raise BadForm(413, "body_too_large", "The form is larger than 8 KiB")
        return dict(parse_qsl(body.decode(), max_num_fields=MOST_FIELDS))
    except TimeoutError:
        raise BadForm(408, "body_too_slow", "The form did not arrive in time") from None
    except ValueError:
        raise BadForm(400, "malformed_form", "The form cannot be read") from None
