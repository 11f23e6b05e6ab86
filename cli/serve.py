"""`ratchet up` and `ratchet migrate`."""

import signal
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Final

import click

import settings
from cli._doors import near
from cli._when import Length
from cli.sandbox import sandbox_gateways
from embedded.crew import Crew
from embedded.house import House
from embedded.processes import DidNotStart, tail

READY_SECONDS: Final = 30.0


@click.command()
def migrate() -> None:
    """Bring the database to this version's schema. Safe to run twice; docs/runbook.md tells what to stop before."""
    from models import schema

    before = schema.present()
    schema.migrate()
    click.echo(f"schema: {before or 'empty'} → {schema.present()}")


@click.command()
@click.option("--for", "seconds", type=Length(0, min_open=True), help="Stop by itself after so many seconds.")
@click.option("--sandbox", "with_sandbox", is_flag=True, help="With sandbox gateways, for payouts of test keys.")
def up(seconds: float | None, *, with_sandbox: bool) -> None:
    """Run the service: embedded servers unless DATABASE_URL / REDIS_URL are set, and every process of the Procfile.

    Data are kept in .ratchet/ (RATCHET_HOME). Ctrl-C stops everything that was started here and nothing else.
    """
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    with House(settings.home()) as house:
        if settings.given("RATCHET_SECURE_COOKIES") is None:
            house.environment["RATCHET_SECURE_COOKIES"] = "0"  # the operators' door is plain http on loopback here
        from models import schema

        schema.migrate()
        _make_operator(house)
        crew = Crew(house.environment, house.folder / "logs")
        crew.start()
        try:
            wait_ready(crew)
            _greet(house)
            with sandbox_gateways(house.folder) if with_sandbox else nullcontext():
                _watch(crew, told_to_stop, seconds)
        finally:
            crew.stop()


def wait_ready(crew: Crew) -> None:
    """Wait until every door is ready. Raises `DidNotStart` with the end of the log that tells why."""
    known = settings.settings()
    deadline = time.monotonic() + READY_SECONDS
    doors = {"receiver": known.receiver_port, "partners": known.partners_port, "operators": known.operators_port}
    for name, port in doors.items():
        while not _is_ready(port):
            gone = crew.ended()
            if gone or time.monotonic() > deadline:
                culprit = next(iter(gone), name)
                raise DidNotStart(f"{culprit} did not get ready; its log ends:\n{tail(crew.log(culprit))}")
            time.sleep(0.05)


def _is_ready(port: int) -> bool:
    connection = HTTPConnection(near(port), timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200  # noqa: PLR2004
    except OSError:
        return False
    finally:
        connection.close()


def _make_operator(house: House) -> None:
    from sqlmodel import select

    from models.database import transaction
    from models.organisation import Operator
    from models.passwords import add_operator

    with transaction() as session:
        if session.exec(select(Operator)).first() is None:
            password, _ = house.operator_password()
            add_operator(session, "operator", password, datetime.now(UTC))


def _greet(house: House) -> None:
    known = settings.settings()
    _, password_file = house.operator_password()
    click.echo(
        f"Ratchet is up.\n"
        f"  gateways POST to     http://{near(known.receiver_port)}/webhooks/<integration>\n"
        f"  partners' API        http://{near(known.partners_port)}/v1, described in /openapi.json\n"
        f"  stuck-payout report  http://{near(known.operators_port)}/ops/stuck\n"
        f"                       sign in as operator; the password stands in {password_file}\n"
        f"  health               http://{near(known.receiver_port)}/readyz and /metrics\n"
        f"  logs and data        {house.folder}\n"
        f"In another terminal: .venv/bin/ratchet gateways add --help. Ctrl-C stops everything started here."
    )


def _watch(crew: Crew, told_to_stop: threading.Event, seconds: float | None) -> None:
    deadline = time.monotonic() + seconds if seconds is not None else float("inf")
    while not told_to_stop.wait(0.2) and time.monotonic() < deadline:
        for name, code in crew.ended().items():
            raise DidNotStart(f"{name} ended with {code}; everything is stopped. Its log ends:\n{tail(crew.log(name))}")
