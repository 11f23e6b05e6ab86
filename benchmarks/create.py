"""Payouts created a second, with hold, audit line and idempotency, against pgbench running the same statements.

One creation is made in this process and the statements that it sends are caught; pgbench then runs just these, with
new ids in each transaction, on the same database, in turn with the partners' door. The door runs as one process for
each of two cores, as pgbench has two threads, and as a lone process beside that. Nothing is pinned: door, load
generator and PostgreSQL share the machine, as pgbench and PostgreSQL do. No worker runs, so nothing is submitted.
"""

import asyncio
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import payers
from benchmarks.ground import Ground, is_open, wait_for
from benchmarks.place import Place
from benchmarks.plan import Outcome, write_requests
from benchmarks.statements import NEW, PARTNER, Script, Statement, catching, new_text, script
from benchmarks.tables import Check, Figure
from embedded.binaries import postgres_folder

CONNECTIONS: Final = 32
CLIENTS: Final = 16
"""Of pgbench."""
MOST_PER_SECOND: Final = 3_000
OPEN_LOOP_SHARE: Final = 0.5
WARM_UP: Final = 20
VARIANTS: Final = {"many balances": payers.PAYERS, "one hot balance": 1}

_COUNTS: Final = {
    "payouts": "SELECT count(*) FROM payout WHERE balance_id IS NOT NULL",
    "holds": "SELECT count(*) FROM ledger_entry WHERE kind = 'held' AND account = 'held'",
    "events": "SELECT count(*) FROM payout_event",
    "deliveries": "SELECT count(*) FROM delivery",
    "audit lines": "SELECT count(*) FROM audit WHERE action = 'payout.created'",
    "remembered answers": "SELECT count(*) FROM remembered_answer",
}


def measure(ground: Ground, seconds: float, rounds: int) -> list[Figure]:
    """Measure with the requests spread over fifty balances, then with all of them on one."""
    from telemetry import logs

    logs.configure("benchmarks", "warning")
    crews = [ground.crew(), ground.crew(RATCHET_PARTNERS_PORT=f"{ground.ports['more partners']}")]
    with payers.payers(ground.real, f"http://127.0.0.1:{ground.ports['sink']}/hooks") as keys:
        payers.pay_in(ground.real)
        caught = asyncio.run(one_creation(keys[0]))
        try:
            for number, crew in enumerate(crews):
                crew.start_one("partners", instance=f"partners-{number}")
            for port in ("partners", "more partners"):
                wait_for(lambda port=port: is_open(ground.ports[port]), 30, "the partners' door")  # type: ignore[misc]
            return [
                _measure(ground, seconds, rounds, variant, keys[:number], caught)
                for variant, number in VARIANTS.items()
            ]
        finally:
            for crew in crews:
                crew.stop()


def _measure(
    ground: Ground, seconds: float, rounds: int, variant: str, keys: Sequence[str], caught: Sequence[Statement]
) -> Figure:
    values: dict[str, list[float]] = {"ratchet": [], "its door as one process": [], "pgbench": []}
    p99: list[float] = []
    both = {"second_port": ground.ports["more partners"]}
    _created(ground, keys, 1.0, **both)  # everything loaded and connected
    for _ in range(rounds):
        values["ratchet"].append(_created(ground, keys, seconds, **both).rate)
        values["its door as one process"].append(_created(ground, keys, seconds).rate)
        values["pgbench"].append(_same_by_pgbench(ground, len(keys), caught, seconds))
        rate = values["ratchet"][-1] * OPEN_LOOP_SHARE
        p99.append(_created(ground, keys, seconds, rate=rate, **both).p99_ms)
    figure = Figure(f"create, {variant}", "payouts/s", values)
    figure.ratio("ratchet", "pgbench", 0.25)
    figure.checks.append(Check("p99 at half of that rate, open loop", p99, 100, at_most=True, unit=" ms"))
    one = [a / b for a, b in zip(values["its door as one process"], values["pgbench"], strict=True)]
    figure.notes.append(f"One creation is {len(caught)} statements. After every run the books were proved.")
    figure.notes.append(f"One process of the door ÷ pgbench: {median(one):.2f} [{min(one):.2f}–{max(one):.2f}].")
    return figure


async def one_creation(key: str) -> list[Statement]:
    """Return what one creation sends, once everything that is kept between requests is there."""
    from receiver.app import partners

    door = partners()
    for number in range(WARM_UP):
        await _ask(door, key, number)
    with catching() as caught:
        await _ask(door, key, WARM_UP)
    return caught


async def _ask(door: Any, key: str, number: int) -> None:
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": payers.body(number), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    head = [(name.encode(), value.encode()) for name, value in payers.headers(key, number).items()]
    scope = {"type": "http", "method": "POST", "path": payers.PATH, "query_string": b"", "headers": head}
    await door(scope, receive, send)
    if status != 201:  # noqa: PLR2004 (created)
        raise RuntimeError(f"a creation was answered {status}")


def _created(ground: Ground, keys: Sequence[str], seconds: float, **more: float) -> Outcome:
    """Have the door create payouts, and compare what is on record with what it said."""
    payers.pay_in(ground.real)
    outcome = ground.load(
        ground.ports["partners"], _requests(ground, keys, seconds), seconds, connections=CONNECTIONS, **more
    )
    if outcome.refused or outcome.lost:
        raise RuntimeError(f"{outcome.refused} refused, {outcome.lost} lost of {outcome.sent}")
    _check(ground.real, outcome.accepted)
    return outcome


def _requests(ground: Ground, keys: Sequence[str], seconds: float) -> Path:
    number = int(MOST_PER_SECOND * seconds)
    file = ground.folder / f"creations-{len(keys)}-{number}"
    if not file.exists():
        write_requests(file, (payers.request(keys[each % len(keys)], each) for each in range(number)))
    return file


def _same_by_pgbench(ground: Ground, partners: int, caught: Sequence[Statement], seconds: float) -> float:
    """Return how many transactions a second pgbench makes of the same statements."""
    payers.pay_in(ground.real)
    how = ("-T", f"{max(1, round(seconds))}", "-c", f"{CLIENTS}", "-j", "2")
    said = run_pgbench(ground.real, same_statements(caught, partners), ground.folder / "creation.sql", how)
    (number,) = re.findall(r"number of transactions actually processed: (\d+)", said)
    (rate,) = re.findall(r"tps = ([0-9.]+) ", said)
    _check(ground.real, int(number))
    return float(rate)


def same_statements(caught: Sequence[Statement], partners: int) -> Script:
    """Return a creation as a script, for so many partners who take turns."""
    tokens = {parameters["tracking_token"] for _, parameters in caught if "tracking_token" in parameters}
    others = {
        **{token: new_text(len(token)) for token in tokens},
        payers.idempotency_key(WARM_UP): new_text(8, "invoice-"),
        payers.name_of(0): new_text(8, payers.NAME, PARTNER),
    }
    head = [
        r"\set n :n + 1",
        rf"\set {NEW} :n * {CLIENTS} + :client_id",
        rf"\set {PARTNER} random(0, {partners - 1})",
    ]
    return script(caught, lasting=payers.LASTING, others=others, head=head)


def run_pgbench(place: Place, written: Script, file: Path, how: Sequence[str]) -> str:
    """Run a script and return what pgbench says of it."""
    file.write_text(written.text)
    given = [f"-D{name}={value}" for name, value in {"n": "0", **written.variables}.items()]
    done = subprocess.run(  # noqa: S603 (a program of PostgreSQL's, and our own statements)
        [postgres_folder() / "pgbench", "-n", "-M", "prepared", *how, "-f", file, *given, place.database_url],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pgbench failed: {done.stderr[-2000:]}")
    return done.stdout


def number_created(place: Place) -> int:
    """Return how many payouts are on record. Raises unless each has all that belongs to it."""
    counts = {name: place.number(query) for name, query in _COUNTS.items()}
    if len(set(counts.values())) > 1:
        raise RuntimeError(f"on record are {counts}")
    return counts["payouts"]


def _check(place: Place, number: int) -> None:
    """Raise unless so many payouts are on record and the books are right."""
    from models.database import transaction
    from payouts.books import prove

    if (found := number_created(place)) != number:
        raise RuntimeError(f"{number} were created, and {found} are on record")
    with transaction() as session:
        proof = prove(session, datetime.now(UTC))
    if proof.violations:
        raise RuntimeError(f"the books are wrong: {proof.violations[:3]}")
