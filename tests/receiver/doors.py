"""The gateways' door, running: in a thread of the test or as a process of its own, and the words to talk to it."""

import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import requests
import uvicorn
from sqlmodel import select
from starlette.types import ASGIApp

from models.database import transaction
from models.inbox import InboxEvent, InboxState, state_of
from models.integration import Integration
from receiver.app import gateways
from receiver.protocol import BoundedProtocol
from tests.concurrency import wait_until
from tests.connectors.samples.paycore import a_callback, an_invoice, sign
from tests.factories import SECRET
from tests.servers import a_process, log_of

LIMIT_SECONDS: Final = 20


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def code(self) -> str:
        """The machine-readable code of a problem document, which this has to be."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["code"])


@dataclass
class Door:
    """A running door."""

    port: int
    process: "subprocess.Popen[bytes] | None" = None

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        with self.connect() as connection:
            head = [f"{method} {path} HTTP/1.1", "host: ratchet.test", f"content-length: {len(body)}"]
            head += [f"{name}: {value}" for name, value in (headers or {}).items()]
            connection.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
            return answer(connection)

    def post(self, integration: Integration | str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a webhook; signed as PayCore signs unless there are headers."""
        slug = integration if isinstance(integration, str) else integration.slug
        return self.ask("POST", f"/webhooks/{slug}", body, signed(body) if headers is None else headers)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), LIMIT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def is_alive(self) -> bool:
        return self.ask("GET", "/healthz").status == 200


def answers(connection: socket.socket, number: int) -> list[Reply]:
    """Read the next answers on a connection, each to its end."""
    with connection.makefile("rb") as stream:
        return [_answer(stream) for _ in range(number)]


def answer(connection: socket.socket) -> Reply:
    """Read the next answer on a connection."""
    return answers(connection, 1)[0]


def _answer(stream: BinaryIO) -> Reply:
    status_line = stream.readline()
    assert status_line.startswith(b"HTTP/1.1 "), status_line
    headers = dict(iter(lambda: _header(stream), ("", "")))
    return Reply(int(status_line.split()[1]), headers, stream.read(int(headers["content-length"])))


def _header(stream: BinaryIO) -> tuple[str, str]:
    name, _, value = stream.readline().decode("latin-1").strip().partition(":")
    return name.lower(), value.strip()


def closes(connection: socket.socket) -> bool:
    """Tell whether the door hangs up, having said nothing more."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def head(slug: str, *lines: str) -> bytes:
    """Return the head of a webhook as it goes over the wire."""
    return (
        "\r\n".join([f"POST /webhooks/{slug} HTTP/1.1", "host: ratchet.test", *lines]).encode("latin-1") + b"\r\n\r\n"
    )


def news(reference: str = "cpoi_1", status: str = "processed", **attributes: Any) -> bytes:
    """Return the body of PayCore's callback about one payout."""
    return a_callback(an_invoice(status=status, **attributes) | {"id": reference})


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return PayCore's signature headers."""
    return {name.decode(): value.decode() for name, value in sign(body, secret, datetime.now(UTC))}


def inbox() -> list[InboxEvent]:
    """Return everything that was stored, oldest first."""
    with transaction() as session:
        return list(session.exec(select(InboxEvent).order_by("id")))


def states() -> list[InboxState]:
    """Return where each of them stands."""
    with transaction() as session:
        return [state_of(session, event.id or 0) for event in session.exec(select(InboxEvent).order_by("id"))]


@contextlib.contextmanager
def a_server(app: ASGIApp) -> Iterator[Door]:
    """Serve an app in a thread, on the loop and with the protocol of production."""
    config = uvicorn.Config(app, loop="uvloop", http=BoundedProtocol, ws="none", log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        yield Door(int(listening.getsockname()[1]))
        server.should_exit = True
        thread.join(LIMIT_SECONDS)


@contextlib.contextmanager
def a_door() -> Iterator[Door]:
    """Run the gateways' door in a thread, where a test can change its bounds."""
    with a_server(gateways()) as door:
        yield door


@contextlib.contextmanager
def a_door_process(name: str = "gateways", **environment: str) -> Iterator[Door]:
    """Run a door as the Procfile does, the gateways' unless it is named."""
    port = a_free_port()
    environment["RATCHET_RECEIVER_PORT" if name == "gateways" else f"RATCHET_{name.upper()}_PORT"] = str(port)
    with a_process("-m", "receiver", name, **environment) as process:
        door = Door(port, process)

        def answers() -> bool:
            assert process.poll() is None, log_of(process)
            try:
                return requests.get(door.url("/healthz"), timeout=LIMIT_SECONDS).status_code == 200
            except requests.ConnectionError:
                return False

        wait_until(answers)
        yield door


def a_free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
