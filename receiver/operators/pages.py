"""How pages are written: templates with everything escaped, and times, spans and numbers as people read them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from payouts.payload import rfc3339

_FOLDER: Final = Path(__file__).parent / "templates"
STYLE: Final = (Path(__file__).parent / "style.css").read_bytes()


def page(request: Request, template: str, context: Mapping[str, Any], *, status: int = 200) -> Response:
    """Render a page. `operator` in the context is who has signed in."""
    return _TEMPLATES.TemplateResponse(request, template, {"operator": None, **context}, status_code=status)


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


_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters |= {"moment": moment, "span": span, "grouped": grouped, "words": words, "rfc3339": rfc3339}
_TEMPLATES: Final = Jinja2Templates(env=_ENVIRONMENT)
