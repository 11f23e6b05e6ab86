"""`ratchet doctor`: look at everything the service stands on, and say how to mend what is wrong."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click
import redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select

from cli._print import Finding, findings, json_option
from models import schema
from models.database import transaction
from models.integration import Integration
from models.sealed import CannotOpen
from payouts.attention import read_books
from payouts.sweeping import most_overdue
from settings import InvalidSettings, settings

LARGEST_SKEW_SECONDS: Final = 5.0
"""Signed timestamps are refused at 300 s; long before that leases and polls would suffer."""
LONGEST_LAG_SECONDS: Final = 60.0
OLDEST_REDIS: Final = 7
"""Of those that are given; the embedded one is what its wheel holds, and is tested."""


@click.command()
@json_option
def doctor(*, as_json: bool) -> None:
    """Check everything that the service stands on. Exit status 1 if anything is wrong."""
    settings()  # without it every check would only repeat that it is missing
    found = [finding for check in CHECKS for finding in _run(check)]
    findings(found, as_json=as_json)
    if not all(is_well for _, is_well, _ in found):
        raise click.exceptions.Exit(1)


def _run(check: Callable[[], list[Finding]]) -> list[Finding]:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        return check()
    except InvalidSettings as error:
        return [(name, False, str(error))]
    except (SQLAlchemyError, redis.RedisError, OSError) as error:
        return [(name, False, f"could not look ({type(error).__name__}); see what is wrong above")]


def _database() -> list[Finding]:
    try:
        with transaction() as session:
            version = session.connection().execute(text("SHOW server_version")).scalar_one()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        return [("database", False, f"{reason}; start `ratchet up`, or set DATABASE_URL to a PostgreSQL that answers")]
    is_new_enough = int(version.split(".")[0]) >= 15  # noqa: PLR2004
    return [("database", is_new_enough, f"PostgreSQL {version}" + ("" if is_new_enough else "; needs 15 or later"))]


def _queue() -> list[Finding]:
    try:
        return [judged(redis.Redis.from_url(settings().redis_url, socket_timeout=3, retry=None).info())]
    except redis.ResponseError as error:
        mend = f"it must be {OLDEST_REDIS} or later, with maxmemory-policy noeviction"
        return [("queue", True, f"Redis answers, and does not let us look by INFO ({error}); {mend}")]
    except redis.RedisError as error:
        return [
            ("queue", False, f"{type(error).__name__}; start `ratchet up`, or set REDIS_URL to a Redis that answers")
        ]


def judged(told: Mapping[str, Any]) -> Finding:
    """Say what a Redis is like that has told this by INFO, which those who run it for others allow, unlike CONFIG."""
    version, policy = told["redis_version"], told.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return ("queue", False, f"Redis {version} evicts ({policy}); set maxmemory-policy noeviction")
    is_embedded = told.get("tcp_port") == 0 and not told.get("config_file")
    if int(version.split(".")[0]) < OLDEST_REDIS and not is_embedded:
        return ("queue", True, f"Redis {version}; upgrade it, {OLDEST_REDIS} is the oldest that is asked for")
    return ("queue", True, f"Redis {version}")


def _migrations() -> list[Finding]:
    present, wanted = schema.present(), schema.wanted()
    mend = "" if present == wanted else f"; {schema.how_to_meet()}"
    return [("migrations", present == wanted, f"at {present or 'nothing'}, this version needs {wanted}{mend}")]


def _clocks() -> list[Finding]:
    before = datetime.now(UTC)
    with transaction() as session:
        theirs = session.connection().execute(text("SELECT clock_timestamp()")).scalar_one()
    ours = before + (datetime.now(UTC) - before) / 2
    skew = abs((theirs - ours).total_seconds())
    detail = f"{skew:.3f} s between this machine and the database"
    return [
        ("clocks", skew < LARGEST_SKEW_SECONDS, detail + ("" if skew < LARGEST_SKEW_SECONDS else "; run NTP on both"))
    ]


def _gateways() -> list[Finding]:
    from payouts.integrations import connect

    with transaction() as session:
        integrations = session.exec(select(Integration).order_by(Integration.slug)).all()
    if not integrations:
        return [("gateways", True, "none yet; `ratchet gateways add`")]
    findings: list[Finding] = []
    for row in integrations:
        name = f"gateway {row.slug}"
        try:
            connector = connect(row).connector
        except (CannotOpen, LookupError) as error:
            findings.append((name, False, str(error)))
            continue
        missing = [each for each in connector.CREDENTIALS if not connector.account.credentials.get(each)]
        if not row.is_active:
            findings.append((name, True, f"disabled; `ratchet gateways enable {row.slug}` undoes it"))
        elif connector.REQUIRES_WEBHOOK_SECRET and not row.has_webhook_secret:
            mend = f"run `ratchet gateways rotate {row.slug} --webhook-secret …`"
            findings.append((name, False, f"has no webhook secret: every webhook gets 403; {mend}"))
        elif missing:
            findings.append((name, False, f"cannot be polled: credential {', '.join(missing)} is missing"))
        else:
            findings.append((name, True, f"{row.connector}, verified webhooks and polling"))
    return findings


def _leader() -> list[Finding]:
    from reconciler.leader import LOCK

    leads = text(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE locktype = 'advisory' AND objid = :key AND granted AND datname = current_database()"
    )
    with transaction() as session:
        held = session.connection().execute(leads, {"key": LOCK}).scalar_one()
    return [
        (
            "reconciler",
            held == 1,
            "one leads" if held else "nobody leads: nothing is polled or swept; start `python -m reconciler`",
        )
    ]


def _flow() -> list[Finding]:
    """Look for work that waits for too long."""
    with transaction() as session:
        run = session.connection().execute
        inbox = run(text("SELECT extract(epoch FROM now() - min(received_at)) FROM inbox_new")).scalar()
        now = datetime.now(UTC)
        due = most_overdue(session, now)
    return [
        _lag("inbox", inbox, "the oldest event waits to be applied"),
        _lag(
            "outbox",
            (now - due).total_seconds() if due else None,
            "a delivery that could have gone waits",
            " If one is, look for an endpoint whose rate limit is below what it is owed (`ratchet endpoints list`)",
        ),
    ]


def _audit() -> list[Finding]:
    """Look for audit lines that are not sealed: a transaction left open holds back all that came after it."""
    with transaction() as session:
        seconds = (
            session.connection()
            .execute(
                text(
                    "SELECT extract(epoch FROM now() - min(recorded_at)) FROM audit a"
                    " WHERE NOT EXISTS (SELECT FROM audit_link l WHERE l.audit_id = a.id)"
                )
            )
            .scalar()
        )
    if seconds is None or float(seconds) < LONGEST_LAG_SECONDS:
        return [("audit", True, "every line is sealed; `ratchet audit verify` proves it")]
    mend = "is a reconciler running, is a transaction open (pg_stat_activity)? After a restore: `ratchet audit seal`"
    return [("audit", False, f"a line waits to be sealed since {float(seconds):.0f} s; {mend}")]


def _books() -> list[Finding]:
    with transaction() as session:
        books = read_books(session)
    if books.number:
        mend = "nothing was mended; stop payouts and see /ops/stuck"
        return [("books", False, f"{books.number} violations, the first: {books.violations[0]}; {mend}")]
    proven = f"proven at {books.proven_at:%Y-%m-%d %H:%M:%SZ}" if books.proven_at else "not proven yet"
    return [("books", True, f"{proven}; entries, balances and holds agree" if books.proven_at else proven)]


def _lag(name: str, seconds: float | None, what: str, but: str = "") -> Finding:
    if seconds is None or float(seconds) < LONGEST_LAG_SECONDS:
        return (name, True, "nothing waits for long")
    return (name, False, f"{what} since {float(seconds):.0f} s: is a worker running (`python -m workers`)?{but}")


CHECKS: Final = (_database, _queue, _migrations, _clocks, _gateways, _leader, _flow, _audit, _books)
