"""A partner's endpoint on loopback that records what it gets and answers as its script says."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Final

LIMIT_SECONDS: Final = 20


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    port: int = 0
    """Of the caller's side of the connection."""


def status(code: int, body: bytes = b"", **headers: str) -> "Answer":
    """Answer with this."""
    lines = [f"HTTP/1.1 {code} So", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def raw(text: bytes) -> "Answer":
    """Answer with these very bytes."""
    return lambda stream: _write(stream, text)


def endless(beginning: bytes, piece: bytes) -> "Answer":
    """Answer without end."""

    def answer(stream: BinaryIO) -> None:
        stream.write(beginning)
        while True:
            stream.write(piece)

    return answer


def _write(stream: BinaryIO, text: bytes) -> None:
    stream.write(text)


Answer = Callable[[BinaryIO], None]
OK: Final = status(200)


@dataclass
class Partner:
    """Somebody who listens."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    script: Callable[[Got, int], Answer] = lambda _got, _nth: OK
    """Given the request and how many came before it; called on the request's own thread."""

    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.got]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with the usual 5, connections opened together wait seconds for their handshake

    def handle_error(self, *_: Any) -> None:
        """Say nothing about callers that hang up: some tests are about them."""


@contextlib.contextmanager
def a_partner(
    script: Callable[[Got, int], Answer] | None = None, *, tls: ssl.SSLContext | None = None
) -> Iterator[Partner]:
    partner = Partner()
    if script:
        partner.script = script
    lock = threading.Lock()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            port = self.client_address[1]
            body = self.rfile.read(int(self.headers["content-length"]))
            request = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body, port)
            with lock:
                nth = len(partner.got)
                partner.got.append(request)
            try:
                partner.script(request, nth)(self.wfile)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None: ...

    server = _Server(("127.0.0.1", 0), Door)
    partner.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield partner
    server.shutdown()
    thread.join(LIMIT_SECONDS)
    server.server_close()
