"""The statements of one request, caught as they are sent, and written down again as a script for pgbench.

So both sides run the same statements by construction: what Ratchet learns to leave out, pgbench leaves out too. Our
ids become expressions over pgbench's own variables, so that each transaction has new ones; all else are parameters.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from unittest.mock import patch

import orjson
import psycopg
from psycopg.types.json import Json, Jsonb
from sqlalchemy import event
from sqlmodel import Session

from models.database import Quick, engine

Statement = tuple[str, Mapping[str, Any]]

NEW: Final = "id"
"""The variable that is another number in every transaction."""
PARTNER: Final = "partner"
"""The variable that holds the number of the partner who asks."""

_CASTS: Final[list[tuple[type, str]]] = [
    (bool, "boolean"),  # before int, which it is one of
    (int, "bigint"),
    (datetime, "timestamptz"),  # before date, likewise
    (date, "date"),
    (bytes, "bytea"),
]
_OURS: Final = re.compile(r"([a-z]+_)[0-9a-f]{28}")
_DIGITS: Final = 28


@contextmanager
def catching() -> Iterator[list[Statement]]:
    """Catch everything that this process sends, as the driver is given it."""
    caught: list[Statement] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        caught.append((statement, dict(parameters or {})))

    run = Quick.run

    def note_quick(quick: Quick, session: Session, parameters: Mapping[str, Any]) -> "psycopg.Cursor[Any]":
        caught.append((quick.text, dict(parameters)))
        return run(quick, session, parameters)

    event.listen(engine(), "before_cursor_execute", note)
    try:
        with patch.object(Quick, "run", note_quick):
            yield caught
    finally:
        event.remove(engine(), "before_cursor_execute", note)


@dataclass(slots=True)
class Script:
    """A pgbench script, and the variables that it is to be given."""

    text: str
    variables: dict[str, str]


def script(
    caught: Sequence[Statement], *, lasting: Collection[str], others: Mapping[str, str], head: Sequence[str] = ()
) -> Script:
    """Write caught statements as one transaction.

    Args:
        caught: the statements, in order.
        lasting: the prefixes of ids that stand for a partner's number; every other id of ours is new each time.
        others: texts that must differ as well, each with its expression.
        head: lines before the transaction.
    """
    variables: dict[str, str] = {}
    lines = [*head, "BEGIN;"]
    for statement, parameters in caught:
        rendered = {
            name: _expression(_bare(value), f"p{len(variables)}_{number}", variables, lasting, others)
            for number, (name, value) in enumerate(parameters.items())
        }
        lines.append(_without_remarks(statement % rendered if rendered else statement) + ";")
    return Script("\n".join([*lines, "COMMIT;", ""]), variables)


def new_text(digits: int, prefix: str = "", variable: str = NEW) -> str:
    """Return an expression for a number's hexadecimal digits behind a prefix."""
    return f"'{prefix}' || lpad(to_hex(CAST(:{variable} AS bigint)), {digits}, '0')"


def _expression(
    value: Any, name: str, variables: dict[str, str], lasting: Collection[str], others: Mapping[str, str]
) -> str:
    if value is None:
        return "NULL"
    text = _text(value)
    if not text:
        return "''"  # pgbench takes no empty variable
    found = {each.group(0): each.group(1) for each in _OURS.finditer(text)}
    ours = {old: new_text(_DIGITS, prefix, PARTNER if prefix in lasting else NEW) for old, prefix in found.items()}
    differing = {**ours, **{old: new for old, new in others.items() if old in text}}
    if text in differing:
        return f"({differing[text]})"
    variables[name] = text
    if not differing:
        return f"CAST(:{name} AS {_cast(value)})"
    expression = f"CAST(:{name} AS text)"
    for old, new in differing.items():
        expression = f"replace({expression}, '{old}', {new})"
    return expression if _cast(value) == "text" else f"CAST({expression} AS {_cast(value)})"


def _bare(value: Any) -> Any:
    """Return what psycopg's wrappers hold."""
    if isinstance(value, Json | Jsonb):
        return orjson.dumps(value.obj).decode()
    return bytes(value.obj) if isinstance(value, psycopg.Binary) else value


def _text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return "\\x" + value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return "{" + ",".join("NULL" if item is None else f'"{_text(item)}"' for item in value) + "}"
    return str(value)


def _cast(value: Any) -> str:
    if isinstance(value, list):
        return "bigint[]" if value and isinstance(value[0], int) else "text[]"
    return next((name for kind, name in _CASTS if isinstance(value, kind)), "text")


def _without_remarks(statement: str) -> str:
    return " ".join(line.partition("--")[0].strip() for line in statement.splitlines()).strip()
