"""How pages are written at every door that has some: everything escaped, times and numbers as people read them.

A door has its own templates and its own frame around them; the stylesheet is one for all.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from payouts.payload import rfc3339

STYLE: Final = (Path(__file__).parent / "style.css").read_bytes()

CLOSED: Final = [
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self' data:;"  # noqa: ISC004 (one value)
        b" form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # `no-referrer` would make browsers send `Origin: null` with our own forms, and they would look cross-site.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
"""Headers of every page: nothing is loaded from elsewhere, nothing runs, nobody frames it, nobody keeps it."""


def templates(folder: Path) -> Jinja2Templates:
    """Return the templates of one door."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "span": span, "grouped": grouped, "words": words, "rfc3339": rfc3339}
    return Jinja2Templates(env=environment)


def style(_: Request) -> Response:
    """Answer the one stylesheet of all pages."""
    return Response(STYLE, media_type="text/css")


def moment(when: datetime) -> str:
    """Return a time as people compare it: `2026-03-01 14:05`, in UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


def span(length: timedelta) -> str:
    """Return a length in its two largest units: `3 d 4 h`, `12 min`."""
    minutes, seconds = divmod(max(0, int(length.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"


def grouped(amount: str) -> str:
    """Return decimal text with its thousands apart by narrow no-break spaces: `1 250 000.00`."""
    whole, dot, fraction = amount.partition(".")
    return f"{int(whole):,}".replace(",", "\N{NARROW NO-BREAK SPACE}") + dot + fraction if whole.isdigit() else amount


def words(code: str) -> str:
    """Return a code as words: `gateway_slow` is `gateway slow`."""
    return code.replace("_", " ")
