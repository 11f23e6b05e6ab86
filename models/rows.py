"""A whole batch as one parameter of a statement: ids, or rows, written as one JSON text.

An array parameter would be written out value by value, in Python. And a row is a JSON array, not an object: to name
every value of every row costs PostgreSQL three times what the values do.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson

IDS: Final = "ANY(ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))"
"""To be compared with `=`: any of the texts in the parameter `ids`."""
NUMBERS: Final = "ANY(ARRAY(SELECT CAST(jsonb_array_elements(CAST(:ids AS jsonb)) AS bigint)))"
"""Likewise, of the numbers in it."""


class Rows:
    """The rows that a statement reads from its parameter `rows`."""

    def __init__(self, **types: str) -> None:
        """Name the columns, in their order, each with its type."""
        self.names = tuple(types)
        self.listed = ", ".join(types)
        columns = [f"CAST(r ->> {place} AS {types[name]}) AS {name}" for place, name in enumerate(types)]
        self.table = f"(SELECT {', '.join(columns)} FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS r)"  # noqa: S608
        """For a FROM."""


def as_json(values: Sequence[Any]) -> str:
    """Return ids, or rows (each a list or a tuple in the order of its columns), as a parameter."""
    return orjson.dumps(values, default=datetime.isoformat).decode()
