"""Pages of a list, newest first. Ids sort by the time they were made, so an id is a cursor, and so is a time."""

from dataclasses import dataclass
from datetime import datetime

from models.ids import first_id

_SIGNS = {"after": "<", "since": ">=", "until": "<"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of a list that is wanted."""

    prefix: str
    """Of the ids in the list."""
    after: str | None = None
    """The last id of the page before."""
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 20

    def within(self, column: str) -> list[str]:
        """Return the SQL conditions on an id column."""
        return [f"{column} {_SIGNS[name]} :{name}" for name in self._ends]

    @property
    def parameters(self) -> dict[str, str | int]:
        """Return what `within` names, and `limit`."""
        return {**self._ends, "limit": self.limit}

    @property
    def _ends(self) -> dict[str, str]:
        ends = {
            "after": self.after,
            "since": first_id(self.prefix, self.since) if self.since else None,
            "until": first_id(self.prefix, self.until) if self.until else None,
        }
        return {name: end for name, end in ends.items() if end is not None}


def is_name(*values: object) -> bool:
    """Tell whether these could be in the database at all: PostgreSQL's text holds no NUL."""
    return all("\0" not in value for value in values if isinstance(value, str))
