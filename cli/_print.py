"""How commands print: a rich table for people, one JSON document for scripts."""

import getpass
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH: Final = 180
"""Columns when nobody has a terminal to tell: wide enough that no id is folded."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")


def rows(title: str, columns: Sequence[str], values: Sequence[Sequence[Any]], *, as_json: bool, empty: str) -> None:
    """Print rows. Text is printed as it is, never as markup."""
    if as_json:
        document([dict(zip(columns, row, strict=True)) for row in values])
        return
    if not values:
        click.echo(empty)
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in values:
        table.add_row(*[Text(cell(value)) for value in row])
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


Finding = tuple[str, bool, str]
"""What was looked at, whether it is well, and what was seen or how to mend it."""


def findings(found: Sequence[Finding], *, as_json: bool) -> None:
    """Print what a check has found."""
    if as_json:
        document([{"check": name, "ok": is_well, "detail": detail} for name, is_well, detail in found])
        return
    for name, is_well, detail in found:
        mark = click.style("ok   ", fg="green") if is_well else click.style("WRONG", fg="red", bold=True)
        click.echo(f"{mark}  {name}: {detail}")


def document(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, default=cell, ensure_ascii=False))


def actor() -> str:
    """Return who types, for the audit trail."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # a container's user may have no name
        return "cli"


def cell(value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)
