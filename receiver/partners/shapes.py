"""What requests and answers are made of: the models that validate are the models that are described."""

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from payouts.payload import rfc3339
from receiver.partners.refusals import Refusal

WAY: Final = "way:"
"""Begins the tag of one of several forms of a body; pydantic puts it where a fault is, and nobody has written it."""

LARGEST_PAGE: Final = 100
MOST_PARAMETERS: Final = 50
MOST_FAULTS: Final = 20
"""Told of one request: an answer must not be many times the size of what it refuses."""

_Shown = TypeVar("_Shown", bound=BaseModel)
_Model = TypeVar("_Model", bound=BaseModel)


class Body(BaseModel):
    """A request's body, or a part of it. Strict: "1" is no number, and an unknown member is refused, not ignored."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, frozen=True)


class Query(BaseModel):
    """A request's query parameters. Unknown ones are refused: a misspelt filter would filter nothing."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class Shown(BaseModel):
    """An answer's body, or a part of it."""

    model_config = ConfigDict(frozen=True)


_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _as_written(moment: object) -> object:
    """Refuse what else could be read as a time: `0.5` would be half a second after midnight in 1970."""
    if not isinstance(moment, str):
        return moment
    if not _RFC3339.fullmatch(moment):
        raise ValueError("Must be a time as RFC 3339 writes it, with its zone: 2026-05-12T09:15:00Z")
    try:
        return datetime.fromisoformat(moment.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("There is no such time") from None


Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_as_written),
    PlainSerializer(rfc3339, return_type=str),
]
"""A time with its zone, written in UTC."""


class PageQuery(Query):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE, description="How many at most")] = 20
    after: Annotated[
        str | None,
        Field(pattern="^[a-z]+_[0-9a-f]{28}$", description="`next_cursor` of the page before"),
    ] = None


class Page(Shown, Generic[_Shown]):
    """A part of a list, newest first. Pages do not shift when something is added meanwhile."""

    data: list[_Shown]
    has_more: bool
    next_cursor: Annotated[str | None, Field(description="Send it as `after` to read on; null at the end")]


def read_json(model: type[_Model], canonical: bytes) -> _Model:
    """Return a body as its model. Raises `Refusal` that points at everything that is wrong."""
    try:
        checked = model.model_validate_json(canonical)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise Refusal("invalid_request", errors=[_pointed(fault) for fault in found[:MOST_FAULTS]]) from None
    if rb"\u0000" in canonical and (faults := list(_nul(checked.model_dump(), ()))):
        raise Refusal("invalid_request", errors=faults[:MOST_FAULTS])
    return checked


def read_query(model: type[_Model], given: list[tuple[str, str]]) -> _Model:
    """Return query parameters as their model. Raises `Refusal`."""
    if len(given) > MOST_PARAMETERS:
        raise Refusal("invalid_request", f"there are more than {MOST_PARAMETERS} query parameters")
    times = Counter(name for name, _ in given)
    if twice := sorted(name for name, number in times.items() if number > 1):
        raise Refusal("invalid_request", errors=[{"parameter": name, "detail": "given twice"} for name in twice])
    if any("\x00" in name or "\x00" in value for name, value in given):
        raise Refusal("invalid_request", errors=[{"parameter": "?", "detail": _NUL}])
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        faults = [
            {"parameter": ".".join(map(str, fault["loc"])) or "?", "detail": fault["msg"]} for fault in error.errors()
        ]
        raise Refusal("invalid_request", errors=faults) from None


_NUL: Final = "Text holds a NUL character"


def _pointed(fault: Any) -> dict[str, str]:
    return {"pointer": _pointer(fault["loc"]), "detail": fault["msg"].removeprefix("Value error, ")}


def _pointer(steps: tuple[Any, ...]) -> str:
    """Return a JSON pointer as a URI fragment, as RFC 9457 shows them: `#/customer/email`."""
    named = [str(step) for step in steps if not str(step).startswith(WAY)]
    return "#" + "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in named)


def _nul(value: Any, at: tuple[Any, ...]) -> Any:
    """Find what PostgreSQL's text cannot hold."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _nul(name, at)
            yield from _nul(item, (*at, name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _nul(item, (*at, number))
    elif isinstance(value, str) and "\x00" in value:
        yield {"pointer": _pointer(at), "detail": _NUL}
