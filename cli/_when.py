"""Times as people type them at a terminal: `2h` ago, or `2026-05-12T09:15:00Z`; and how long something lasts."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

_AGO: Final = re.compile(r"(\d{1,6})\s*(s|min|h|d|w)")
_UNITS: Final = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class When(click.ParamType[datetime]):
    """A moment. Without a zone it is UTC."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment."""
        if isinstance(value, datetime):
            return value
        if ago := _AGO.fullmatch(value.strip()):
            return self._before_now(timedelta(**{_UNITS[ago[2]]: int(ago[1])}), param, ctx)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail("give how long ago (30min, 2h, 3d), or a time like 2026-05-12T09:15:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def _before_now(self, length: timedelta, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return datetime.now(UTC) - length
        except OverflowError:
            self.fail("that is before the year 1; give how long ago like 30min, 2h, 3d", param, ctx)


class Length(click.FloatRange):
    """How long, in the unit of its option. A NaN is neither too short nor too long, and refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail("that is no number", param, ctx)
        return number


WHEN: Final = When()
