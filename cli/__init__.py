"""`ratchet …`: everything an operator does from a terminal. Each command says what went wrong and how to mend it."""

import sys
from typing import Final

import click
import psycopg
import redis
from alembic.util import CommandError
from sqlalchemy.exc import OperationalError, ProgrammingError

import settings
from cli import (
    audit,
    balance_payouts,
    balances,
    bookings,
    check,
    deliveries,
    demo,
    doctor,
    endpoints,
    events,
    gateways,
    inbox,
    keys,
    operators,
    payouts,
    portal,
    prices,
    rotate,
    sandbox,
    serve,
    stuck,
    switches,
)
from embedded.binaries import NoServerProgram
from embedded.house import join_running
from embedded.processes import DidNotStart
from models import schema
from models.sealed import CannotOpen
from telemetry import logs

OF_ANOTHER_VERSION: Final = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedObject,
)
"""What a database says whose schema is not this version's."""

STARTERS: Final = ("up", "demo")
"""Commands that start servers of their own, whatever one that was killed has left behind."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ratchet")
@click.pass_context
def ratchet(context: click.Context) -> None:
    """Payout webhooks in, verified; payout status forward, never back; partner webhooks out, signed."""
    if context.invoked_subcommand not in STARTERS:
        join_running(settings.home())


for part in (check.check, rotate.rotate):
    gateways.gateways.add_command(part)
for part in (bookings.credit, bookings.charge, bookings.adjust, bookings.reserve_):
    balances.balances.add_command(part)
for part in (balance_payouts.destination, balance_payouts.pay):
    balances.balances.add_command(part)
for command in (
    serve.up,
    demo.demo,
    serve.migrate,
    gateways.gateways,
    sandbox.sandbox,
    payouts.payouts,
    endpoints.endpoints,
    events.events,
    deliveries.deliveries,
    inbox.inbox,
    portal.portal,
    keys.keys,
    operators.operators,
    stuck.stuck,
    audit.audit,
    switches.switches,
    balances.balances,
    prices.rates,
    prices.fees,
    doctor.doctor,
):
    ratchet.add_command(command)


def main() -> None:
    """Run a command; turn what commonly goes wrong into one line and a way out."""
    logs.configure_for_people()
    try:
        ratchet()
    except settings.InvalidSettings as error:
        _give_up(str(error))
    except (NoServerProgram, DidNotStart) as error:
        _give_up(str(error))
    except ProgrammingError as error:
        if not isinstance(error.orig, OF_ANOTHER_VERSION):
            raise
        _give_up(f"the database's schema is not this version's ({_first_line(error)}): {schema.how_to_meet()}")
    except CommandError:
        _give_up(f"nothing can be migrated: {schema.how_to_meet()}")
    except (OperationalError, psycopg.OperationalError) as error:
        _give_up(f"PostgreSQL does not answer ({_first_line(error)}): is `ratchet up` running, is DATABASE_URL right?")
    except redis.RedisError as error:
        _give_up(f"Redis does not answer ({type(error).__name__}): is `ratchet up` running, is REDIS_URL right?")
    except CannotOpen:
        _give_up(
            "a stored secret cannot be opened: put the key it was sealed with back into RATCHET_SECRET_KEYS;"
            " if that is lost, docs/runbook.md says under Keys how every secret is set anew"
        )


def _first_line(error: Exception) -> str:
    lines = str(getattr(error, "orig", error)).splitlines()
    return lines[0] if lines else type(error).__name__


def _give_up(message: str) -> None:
    click.echo(f"ratchet: {message}", err=True)
    sys.exit(1)
