"""Whose rows a caller sees, and the pages of them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from payouts.pages import Stretch
from payouts.sight import Sight
from receiver.partners.operation import Call
from receiver.partners.shapes import Moment, Page, PageQuery

_Found = TypeVar("_Found")
_Shown = TypeVar("_Shown", bound=BaseModel)

Name = Annotated[str, Field(pattern="^[A-Za-z0-9_.:-]{1,64}$")]
"""An id, or a word of ours."""


class TimedQuery(PageQuery):
    """A part of a list, bounded in time."""

    since: Annotated[Moment | None, Field(description="Made then or later")] = None
    until: Annotated[Moment | None, Field(description="Made earlier")] = None


def sight_of(call: Call) -> Sight:
    """Return what the caller may see."""
    return Sight(call.caller.organisation_id, call.caller.test_mode)


def stretch_of(prefix: str, query: PageQuery) -> Stretch:
    """Return which part is wanted, and one more, which tells whether there is more."""
    since: datetime | None = getattr(query, "since", None)
    until: datetime | None = getattr(query, "until", None)
    return Stretch(prefix, query.after, since, until, query.limit + 1)


def page_of(found: Sequence[_Found], query: PageQuery, show: Callable[[_Found], _Shown]) -> Page[Any]:
    """Return what was found of a stretch as a page. What is shown has an `id`."""
    shown: list[Any] = [show(one) for one in found[: query.limit]]
    has_more = len(found) > query.limit
    return Page(data=shown, has_more=has_more, next_cursor=shown[-1].id if has_more else None)
