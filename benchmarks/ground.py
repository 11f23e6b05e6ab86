"""What the measurements stand on: servers of their own, two databases with the same rows, and the processes under test.

The naive way has a database and a Redis database to itself: the reconciler would otherwise do its work for it.
"""

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from subprocess import Popen
from types import TracebackType
from typing import Any, Final, Self

import psutil  # type: ignore[import-untyped]
import psycopg

import settings
from benchmarks import traffic
from benchmarks.naive.event import ALTERED
from benchmarks.place import Place
from benchmarks.plan import Outcome, Plan, write_requests
from benchmarks.traffic import SECRET, SLUG
from embedded import processes
from embedded.crew import Crew
from embedded.house import House

START_SECONDS: Final = 30.0
ENVIRONMENT: Final = {
    "RATCHET_PRIVATE_ENDPOINTS": "1",  # the sink is on loopback
    "RATCHET_POLL_UNIT_SECONDS": "86400",  # nobody is polled meanwhile: there is no gateway to ask
    "RATCHET_REQUESTS_PER_SECOND": "1000000",  # of one key: more than anybody answers
}


class Ground:
    """`with Ground() as ground:` starts PostgreSQL, Redis and the sink; the rest is started figure by figure."""

    def __enter__(self) -> Self:
        """Start and migrate the servers, and introduce integration and partner."""
        self.folder = Path(tempfile.mkdtemp(prefix="ratchet-bench-"))
        self.folder.chmod(0o711)
        self._started: list[Popen[bytes]] = []
        names = ("receiver", "sink", "bare", "naive", "operators", "partners", "more partners")
        self.ports = dict(zip(names, processes.free_ports(len(names)), strict=True))
        self.house = House(self.folder, durable=True, ignore_given=True).__enter__()
        try:
            self._furnish()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything that was started here, and delete the data."""
        self.stop(*self._started)
        self.house.__exit__(kind, error, trace)
        if self.house.postgres and self.house.postgres.sockets.parent != self.house.postgres.folder:
            shutil.rmtree(self.house.postgres.sockets, ignore_errors=True)
        if error is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _furnish(self) -> None:
        ports = {
            f"RATCHET_{door.upper()}_PORT": f"{self.ports[door]}"
            for door in ("receiver", "operators", "partners", "more partners")
        }
        settings.adopt({**ENVIRONMENT, **ports})
        known = settings.settings()
        self.real = Place(known.database_url, known.redis_url)
        _introduce(f"http://127.0.0.1:{self.ports['sink']}/hooks")
        with psycopg.connect(known.database_url.replace("/ratchet?", "/postgres?"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE naive TEMPLATE ratchet")
        self.naive = Place(known.database_url.replace("/ratchet?", "/naive?"), f"{known.redis_url}?db=1", is_naive=True)
        with self.naive.connect() as connection:
            for statement in ALTERED:
                connection.execute(statement)
        self.sink = self.start("benchmarks.sink", str(self.ports["sink"]), port=self.ports["sink"])

    def servers(self) -> list["Popen[bytes]"]:
        """Return PostgreSQL and Redis."""
        started = (self.house.postgres, self.house.redis)
        return [server.process for server in started if server and server.process]

    def crew(self, **changes: str) -> Crew:
        """Return the Procfile's processes, none of them started; `changes` are variables of theirs."""
        return Crew({**self.house.environment, **ENVIRONMENT, **changes}, self.folder / "logs")

    def start(
        self, module: str, *arguments: str, place: Place | None = None, port: int | None = None, core: int | None = None
    ) -> "Popen[bytes]":
        """Start a module as a process; wait for its port, if it has one."""
        log = self.folder / "logs" / f"{'-'.join([module, *arguments])}.log"
        environment = settings.inherited()
        if place:
            environment |= {"DATABASE_URL": place.database_url, "REDIS_URL": place.redis_url}
        process = processes.start([sys.executable, "-m", module, *arguments], log, env=environment)
        self._started.append(process)
        pin(process, core)
        if port:
            processes.wait_until(lambda: is_open(port), process, log)
        return process

    def stop(self, *started: "Popen[bytes]") -> None:
        """Stop processes that were started here."""
        for process in started:
            processes.stop(process)
        self._started = [process for process in self._started if process not in started]

    def write(self, payouts: int, first: int = 0) -> Path:
        """Write the requests for so many payouts, once, and return their file."""
        file = self.folder / f"requests-{first}-{payouts}"
        if not file.exists():
            write_requests(file, (webhook.request() for webhook in traffic.webhooks(payouts, first)))
        return file

    def load(self, port: int, requests: Path, seconds: float, **more: Any) -> Outcome:
        """Run the load generator and return what came of it."""
        answer = self.folder / "answer"
        answer.unlink(missing_ok=True)
        plan = Plan(port=port, requests=str(requests), answer=str(answer), seconds=seconds, **more)
        log = self.folder / "logs" / "load.log"
        process = processes.start([sys.executable, "-m", "benchmarks.load", json.dumps(asdict(plan))], log)
        if process.wait(seconds * 4 + 60) != 0:
            raise RuntimeError(f"the load generator failed; its log ends:\n{processes.tail(log)}")
        return Outcome(**json.loads(answer.read_text()))

    def ask_sink(self, path: str) -> dict[str, float]:
        """Ask the sink what it has received."""
        connection = HTTPConnection("127.0.0.1", self.ports["sink"], timeout=20)
        try:
            connection.request("GET", path)
            answer: dict[str, float] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer


def _introduce(url: str) -> None:
    """Put one integration and one partner with one endpoint on record."""
    from models import schema
    from models.database import engine, transaction
    from models.endpoint import Endpoint, EndpointSecrets, new_secret
    from models.integration import Integration, IntegrationSecrets
    from models.organisation import Organisation

    schema.migrate()
    now = datetime.now(UTC)
    with transaction() as session:
        organisation = Organisation(name="Acme", created_at=now)
        session.add(organisation)
        session.flush()
        sealed = EndpointSecrets.of(new_secret()).sealed()
        session.add(Endpoint(organisation_id=organisation.id, url=url, sealed=sealed, created_at=now, updated_at=now))
        integration = Integration(
            slug=SLUG, connector="paycore", sealed=b"", has_webhook_secret=False, created_at=now, updated_at=now
        )
        integration.keep(IntegrationSecrets((SECRET,), {}))
        session.add(integration)
    engine().dispose()  # a database with connections cannot be a template


def pin(process: "Popen[bytes]", core: int | None) -> None:
    """Keep a process and its children on one core; on any core again with None. Threads to come inherit it."""
    cores = range(os.cpu_count() or 1)
    chosen = {core} if core is not None and core in cores else set(cores)
    for each in (process.pid, *(child.pid for child in psutil.Process(process.pid).children())):
        with contextlib.suppress(ProcessLookupError):  # one of PostgreSQL's, on its way out
            os.sched_setaffinity(each, chosen)


def wait_for(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once it holds. Raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about within {seconds:g} s")
        time.sleep(0.01)


def is_open(port: int) -> bool:
    """Tell whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
