"""`ratchet keys mint|list|rotate|revoke`: what partners show at their door."""

from datetime import UTC, datetime, timedelta

import click
from sqlmodel import Session, select

from cli._print import actor, json_option, rows
from cli._when import Length
from models.api_key import Scope
from models.database import transaction
from models.organisation import Organisation
from payouts.create import Refused
from payouts.keys import LONGEST_NAME, Minted, list_keys, mint, revoke, rotate

_ONCE = "Give the key to the partner now: it is not shown again."


@click.group()
def keys() -> None:
    """Configure what partners may do at their door."""


@keys.command("mint")
@click.argument("organisation")
@click.option("--live/--test", "is_live", default=False, help="Whether money moves. Test by default.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([str(scope) for scope in Scope]),
    help="Only these; default all.",
)
@click.option("--name", default="", help=f"What it is for; at most {LONGEST_NAME} characters.")
@click.option("--days", type=Length(0, 3650, min_open=True), help="Until it expires; default never.")
def mint_(organisation: str, *, is_live: bool, scopes: tuple[str, ...], name: str, days: float | None) -> None:
    """Make a key for ORGANISATION, which is made if it is new. Prints the key, this once."""
    now = datetime.now(UTC)
    try:
        with transaction() as session:
            minted = mint(
                session,
                _organisation(session, organisation, now),
                test_mode=not is_live,
                scopes=[Scope(scope) for scope in scopes or Scope],
                name=name,
                expires_at=now + timedelta(days=days) if days else None,
                actor=actor(),
                now=now,
            )
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
    _show(minted)


@keys.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """Show every key by its last four letters, and when it was last used."""
    now = datetime.now(UTC)
    columns = ("id", "organisation", "key", "name", "scopes", "opens", "expires_at", "revoked_at", "last_used_at")
    with transaction() as session:
        values = [
            (
                row.id,
                organisation,
                row.shown,
                row.name,
                row.scopes,
                row.is_live(now),
                row.expires_at,
                row.revoked_at,
                row.last_used_at,
            )
            for row, organisation in list_keys(session)
        ]
    rows("keys", columns, values, as_json=as_json, empty="no keys yet: `ratchet keys mint`")


@keys.command("rotate")
@click.argument("key_id")
@click.option("--keep-old-hours", type=Length(0, 24 * 90), default=24.0, show_default=True)
def rotate_(key_id: str, keep_old_hours: float) -> None:
    """Make a key that may do what KEY_ID may. The old one works until --keep-old-hours are over."""
    try:
        with transaction() as session:
            minted = rotate(session, key_id, timedelta(hours=keep_old_hours), actor=actor(), now=datetime.now(UTC))
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
    _show(minted)


@keys.command("revoke")
@click.argument("key_id")
def revoke_(key_id: str) -> None:
    """End KEY_ID now, for good."""
    try:
        with transaction() as session:
            revoke(session, key_id, actor=actor(), now=datetime.now(UTC))
    except Refused as refusal:
        raise click.ClickException(f"{refusal.code}: {refusal}") from None
    click.echo(f"{key_id} opens nothing any more")


def _organisation(session: Session, name: str, now: datetime) -> Organisation:
    found = session.exec(select(Organisation).where(Organisation.name == name)).one_or_none()
    organisation = found or Organisation(name=name, created_at=now)
    session.add(organisation)
    session.flush()
    return organisation


def _show(minted: Minted) -> None:
    click.echo(f"{minted.row.id}\n{minted.key}")
    click.echo(_ONCE, err=True)
