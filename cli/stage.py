"""A whole installation on a stage: servers, every process, the sandbox gateways, a partner. For the demo and for chaos.

What is true is asked of the sandbox and of the partner, never of ourselves: they share no code with the rest. The
partner runs the receiver that we give to partners (examples/) behind a door that has bad days and keeps its own score.
"""

import json
import random
import socket
import sqlite3
import sys
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from sqlalchemy import text

import settings
from cli.sandbox import BASE_PATHS
from cli.serve import wait_ready
from embedded import processes
from embedded.crew import Crew
from embedded.house import House

SHORTENED: Final = {
    "RATCHET_POLL_UNIT_SECONDS": "0.2",
    "RATCHET_POLLS_PER_SECOND": "60",
    "RATCHET_RETRY_SCALE": "0.01",
    "RATCHET_PRIVATE_ENDPOINTS": "1",
    "RATCHET_SECURE_COOKIES": "0",
}
"""What takes minutes and days in use takes seconds on a stage."""

CREDENTIALS: Final = {
    "mollie": {"api_key": "test_stage0000000000000000000000"},
    "fedapay": {"secret_key": "sk_sandbox_stage"},
    "paycore": {"account_id": "coma_stage", "api_key": "sk_test_stage"},
    "zopay": {"secret_key": "sk_live_stage"},  # a test key would make one payout of two equal orders
    "bridgerpay": {"api_key": "stage-merchant", "user_name": "ada@example.test", "password": "stage"},
}
MONEY: Final = {
    "mollie": ("EUR", 100),
    "fedapay": ("XOF", 1),
    "paycore": ("USD", 100),
    "zopay": ("USDT", 10**6),
    "bridgerpay": ("EUR", 100),
}
"""Currency, and minor units per major one."""
DETAILS: Final[dict[str, dict[str, Any]]] = {
    "mollie": {"balanceId": "bal_stage"},
    "fedapay": {
        "mode": "mtn",
        "customer": {
            "firstname": "Ada",
            "lastname": "Stage",
            "email": "ada@example.test",
            "phone_number": {"number": "66000001", "country": "BJ"},
        },
    },
    "paycore": {"service": "payment_card_usd", "fields": {"account": "12345"}},
    "zopay": {"external_ref": "user-ada", "destination": "TXstage"},
    "bridgerpay": {
        "provider": "sandbox",
        "country": "BE",
        "payout_method_type": "bank_account",
        "metadata": {"bankAccountNumber": "BE68539007547034"},
    },
}

MISBEHAVIOUR: Final = {
    "speed": 1.0,
    "drop": 0.05,
    "repeat": 0.1,
    "shuffle": 0.15,
    "forge": 0.05,
    "timeout_after_accept": 0.03,
    "mollie_simple_payload": 0.2,
    "bridgerpay_soft_errors": 0.5,
    "bridgerpay_deposits": 0.2,
    "bridgerpay_shown_after_seconds": [0.0, 1.0],
    "bridgerpay_token_seconds": 5.0,
    "retry_speed": 60.0,
}
PARTNER_REFUSES: Final = 0.05
UNDER_WAY_SECONDS: Final = 8.0
"""A submission that has not reached its gateway by then is not on its way any more."""


@dataclass(slots=True)
class Verdict:
    """How things stand, by the sandbox's, the partner's and the database's word."""

    stats: dict[str, Any] = field(default_factory=dict)
    score: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, str | None] = field(default_factory=dict)
    """What the partner's receiver has made of each message that it keeps; None while it waits for its turn."""
    by_status: dict[str, int] = field(default_factory=dict)
    events: int = 0
    inbox: dict[str, int] = field(default_factory=dict)
    deliveries: dict[str, int] = field(default_factory=dict)
    polled: int = 0
    payouts_over: int = 0
    disagreements: list[str] = field(default_factory=list)
    never_arrived: int = 0
    """Payouts whose worker died between committing `sending` and the gateway: asked about, never sent again."""
    submitted_twice: int = 0
    partner_disagreements: int = 0

    @property
    def is_settled(self) -> bool:
        """Tell whether nothing more is expected to happen."""
        return (
            bool(self.stats.get("is_idle"))
            and not self.disagreements
            and not self.inbox.get("new")
            and not self.deliveries.get("open")
            and self.score.get("events") == self.events
            and None not in self.kept.values()
        )


class Stage:
    """`with Stage(folder, seed) as stage:` brings all of it up and takes all of it down."""

    def __init__(self, folder: Path, seed: int, *, reconcilers: int = 1) -> None:
        """Keep data and logs in `folder`."""
        self.folder = folder
        self.seed = seed
        self._reconcilers = reconcilers
        names = ("receiver", "partners", "operators", "sandbox", "partner", "kit")
        self.ports = dict(zip(names, processes.free_ports(len(names)), strict=True))
        self._others: list[Any] = []
        self._dice = random.Random(seed)  # noqa: S311 (a repeatable story, no secret)
        self._created = 0

    def __enter__(self) -> Self:
        """Start servers, processes, sandbox and partner, and introduce them to each other."""
        self.house = House(self.folder, durable=True, ignore_given=True)
        self.house.__enter__()
        try:
            settings.adopt({**SHORTENED, **self._port_environment()})
            self._open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything that was started here."""
        crew = getattr(self, "crew", None)
        if crew:
            crew.stop()
        for process in self._others:
            processes.stop(process)
        from models.database import hang_up

        hang_up()
        self.house.__exit__(kind, error, trace)

    def _open(self) -> None:
        from models import schema
        from models.database import hang_up

        hang_up()  # whoever has used a database in this process before has used another one
        schema.migrate()
        self._start("sandbox", "--port", str(self.ports["sandbox"]), "--seed", str(self.seed))
        self._open_partner(self._introduce())
        self.crew = Crew({**self.house.environment, **SHORTENED, **self._port_environment()}, self.folder / "logs")
        self.crew.start()
        for number in range(1, self._reconcilers):
            self.crew.start_one("reconciler", instance=f"reconciler-{number + 1}")
        wait_ready(self.crew)
        self.call("PUT", self.ports["sandbox"], "/_sandbox/behaviour", MISBEHAVIOUR)

    def _open_partner(self, secret: str) -> None:
        memory = ("--memory", str(self._memory))
        self._start("examples.receiver", "--port", str(self.ports["kit"]), *memory, WEBHOOK_SECRET=secret)
        forward = ("--forward", f"http://127.0.0.1:{self.ports['kit']}/hooks")
        day = ("--refuse", str(PARTNER_REFUSES), *forward)
        self._start("sandbox.partner", "--port", str(self.ports["partner"]), "--secret", secret, *day)

    @property
    def _memory(self) -> Path:
        return self.folder / "receiver.db"

    def _port_environment(self) -> dict[str, str]:
        doors = ("receiver", "partners", "operators")
        return {"RATCHET_BIND": "127.0.0.1"} | {f"RATCHET_{door.upper()}_PORT": str(self.ports[door]) for door in doors}

    def _start(self, module: str, *arguments: str, **environment: str) -> None:
        log = self.folder / "logs" / f"{module}.log"
        command = [sys.executable, "-m", module, *arguments]
        process = processes.start(command, log, env={**settings.inherited(), **environment})
        self._others.append(process)
        port = int(arguments[1])
        processes.wait_until(lambda: _listens(port), process, log)

    def _introduce(self) -> str:
        """Configure integrations here and accounts there; return the partner's secret."""
        from models.database import transaction
        from models.endpoint import Endpoint, EndpointSecrets, new_secret
        from models.integration import Integration, IntegrationSecrets
        from models.organisation import Organisation

        now = datetime.now(UTC)
        secret = new_secret()
        with transaction() as session:
            organisation = Organisation(name="Acme", created_at=now)
            session.add(organisation)
            session.flush()
            url = f"http://127.0.0.1:{self.ports['partner']}/hooks"
            session.add(
                Endpoint(
                    organisation_id=organisation.id,
                    url=url,
                    sealed=EndpointSecrets.of(secret).sealed(),
                    created_at=now,
                    updated_at=now,
                )
            )
            for connector, credentials in CREDENTIALS.items():
                webhook_secret = _webhook_secret(connector, self.seed)
                integration = Integration(
                    slug=f"{connector}-stage",
                    connector=connector,
                    base_url=f"http://127.0.0.1:{self.ports['sandbox']}{BASE_PATHS[connector]}",
                    sealed=b"",
                    has_webhook_secret=False,
                    created_at=now,
                    updated_at=now,
                )
                integration.keep(IntegrationSecrets((webhook_secret,), credentials))
                session.add(integration)
                account = {
                    "webhook_url": f"http://127.0.0.1:{self.ports['receiver']}/webhooks/{connector}-stage",
                    "webhook_secret": webhook_secret,
                    "api_key": credentials.get("api_key") or credentials["secret_key"],
                }
                names = {"account_id": "account_id", "user_name": "account_id", "password": "password"}
                account |= {names[name]: value for name, value in credentials.items() if name in names}
                self.call("PUT", self.ports["sandbox"], f"/_sandbox/gateways/{connector}", account)
        return secret

    def create_payouts(self, number: int) -> None:
        """Create payouts at every gateway in turn, as a caller does: on record, committed, queued to be submitted."""
        from models.database import transaction
        from payouts.create import NewPayout, create
        from workers.broker import QueueAway
        from workers.deliver import send_deliver
        from workers.submit import send_submit

        for _ in range(number):
            connector = list(CREDENTIALS)[self._created % len(CREDENTIALS)]
            currency, units = MONEY[connector]
            new = NewPayout(
                integration=f"{connector}-stage",
                organisation="Acme",
                order_key=f"order-{self.seed}-{self._created}",
                amount_minor=self._dice.randint(5, 5_000) * units,
                currency=currency,
                description="stage",
                details=DETAILS[connector],
            )
            with transaction() as session:
                created = create(session, new, datetime.now(UTC))
            self._created += 1
            try:
                send_deliver(created.deliveries)
                send_submit(created.id)
            except QueueAway:
                continue  # the reconciler takes it up

    def skip_payout(self) -> None:
        """Count the payout whose creation has turned out to have succeeded."""
        self._created += 1

    def verdict(self) -> Verdict:
        """Ask everybody how things stand."""
        from models.database import transaction
        from models.inbox import STATE

        verdict = Verdict(
            stats=self.call("GET", self.ports["sandbox"], "/_sandbox/stats"),
            score=self.call("GET", self.ports["partner"], "/_partner/score"),
        )
        with closing(sqlite3.connect(f"file:{self._memory}?mode=ro", uri=True)) as memory:
            verdict.kept = dict(memory.execute("SELECT id, outcome FROM message").fetchall())
            held = dict(memory.execute("SELECT id, status FROM payout").fetchall())
        truth = self.call("GET", self.ports["sandbox"], "/_sandbox/truth")["payouts"]
        with transaction() as session:
            run = session.connection().execute
            ours = {
                (row.connector, row.order_key): row
                for row in run(
                    text(
                        "SELECT p.id, i.connector, p.order_key, p.gateway_reference, p.status, p.submission"
                        " FROM payout p JOIN integration i ON i.id = p.integration_id"
                    )
                )
            }
            verdict.events = run(text("SELECT count(*) FROM payout_event")).scalar_one()
            standing = f"SELECT {STATE} AS state, count(*) FROM inbox_event e GROUP BY 1"  # noqa: S608 (ours)
            verdict.inbox = dict(run(text(standing)).all())
            verdict.deliveries = dict(run(text("SELECT state, count(*) FROM delivery GROUP BY state")).all())
            verdict.polled = run(text(_POLLED)).scalar_one()
        for row in ours.values():
            verdict.by_status[row.status] = verdict.by_status.get(row.status, 0) + 1
        self._compare(verdict, truth, ours)
        told = (verdict.score["status"], held)
        verdict.partner_disagreements = sum(any(t.get(row.id) != row.status for t in told) for row in ours.values())
        return verdict

    def _compare(self, verdict: Verdict, truth: list[dict[str, Any]], ours: Mapping[tuple[str, str], Any]) -> None:
        by_reference = {(row.connector, row.gateway_reference): row for row in ours.values()}
        for payout in truth:
            gateway = payout["gateway"]
            # Not every gateway is told our key.
            known = ours.get((gateway, payout["order_key"])) or by_reference.get((gateway, payout["reference"]))
            verdict.payouts_over += bool(payout["is_over"])
            verdict.submitted_twice += payout["submissions"] > 1
            if known is None or known.status != payout["fate_status"]:
                verdict.disagreements.append(
                    f"{payout['gateway']} {payout['order_key']}: gateway {payout['fate_status']}"
                    f" ({payout['native_status']}), ours {known.status if known else 'unknown'}"
                )
        theirs = {(payout["gateway"], payout[name]) for payout in truth for name in ("order_key", "reference")}
        for (gateway, order_key), row in ours.items():
            if theirs & {(gateway, order_key), (gateway, row.gateway_reference)}:
                continue
            if row.status == "pending" and row.submission in {"sending", "unknown", "not_received"}:
                verdict.never_arrived += 1
            else:
                verdict.disagreements.append(f"{gateway} {order_key}: unknown to its gateway, ours {row.status}")

    def wait_settled(self, seconds: float, *, on_progress: Any = None) -> Verdict:
        """Wait until nothing more is expected to happen, or the time is up; return the last verdict."""
        deadline = time.monotonic() + seconds
        settled_at: float | None = None
        while True:
            verdict = self.verdict()
            if on_progress:
                on_progress(verdict)
            now = time.monotonic()
            settled_at = (settled_at or now) if verdict.is_settled else None
            lost_for_good = settled_at is not None and now - settled_at > UNDER_WAY_SECONDS
            if now > deadline or (settled_at and (verdict.never_arrived == 0 or lost_for_good)):
                return verdict
            time.sleep(0.25)

    def call(self, method: str, port: int, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call a control API on loopback."""
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:  # noqa: PLR2004 (HTTP's own classes)
            raise RuntimeError(f"{method} {urlsplit(path).path} answered {answer.status}: {content[:200]!r}")
        return json.loads(content) if content else None


_POLLED: Final = """
    SELECT count(*) FROM payout p WHERE 'poll' = (
        SELECT source FROM payout_event e WHERE e.payout_id = p.id ORDER BY sequence DESC LIMIT 1
    )
"""


def _webhook_secret(connector: str, seed: int) -> str:
    """Return a webhook secret in the form that the gateway gives."""
    text = f"stage-{connector}-{seed}-webhook-secret"
    return f"whsec_{b64encode(text.encode()).decode()}" if connector == "zopay" else text


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
