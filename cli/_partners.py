"""What the commands about partners' rows share: whose are meant, which page, and refusals in one line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from sqlmodel import select

from cli._when import WHEN
from models.database import transaction
from models.organisation import Organisation
from payouts.create import Refused
from payouts.pages import Stretch
from payouts.sight import Sight

_Command = TypeVar("_Command", bound=Callable[..., Any])


def list_options(command: _Command) -> _Command:
    """Give a list the options for whose rows are meant and which page of them."""
    options = [
        click.option("--organisation", help="Only this partner's."),
        click.option("--live/--test", "is_live", default=None, help="Only live ones, or only test ones; default both."),
        click.option("--since", type=WHEN, help="2h, 3d, or 2026-05-12T09:15:00Z."),
        click.option("--until", type=WHEN),
        click.option("--after", help="Read on after this id, the last of the page before."),
        click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def seen(prefix: str, which: dict[str, Any]) -> tuple[Sight, Stretch]:
    """Return whose rows and which page of them the `list_options` mean; `prefix` is that of the ids."""
    test_mode = None if which["is_live"] is None else not which["is_live"]
    stretch = Stretch(prefix, which["after"], which["since"], which["until"], which["limit"])
    return Sight(_organisation(which["organisation"]), test_mode), stretch


def _organisation(name: str | None) -> str | None:
    if name is None:
        return None
    with transaction() as session:
        found = session.exec(select(Organisation.id).where(Organisation.name == name)).one_or_none()
    if found is None:
        raise click.BadParameter(f"no organisation {name!r}", param_hint="--organisation")
    return found


@contextmanager
def refusals() -> Iterator[None]:
    """Say what a rule refuses in one line."""
    try:
        yield
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
