"""A mail server on loopback that keeps what it is given, written from RFC 5321 and RFC 3207."""

import contextlib
import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

LIMIT_SECONDS: Final = 20


@dataclass
class Mailbox:
    """What has come, and how the server behaves."""

    tls: ssl.SSLContext | None = None
    refuses: bool = False
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str, bool]] = field(default_factory=list)
    """User, password, and whether the connection was encrypted."""
    encrypted: list[bool] = field(default_factory=list)
    """Of each letter."""
    port: int = 0


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    box: Mailbox

    def handle_error(self, *_: object) -> None: ...


class _Door(socketserver.StreamRequestHandler):
    """One connection."""

    server: _Server

    def handle(self) -> None:
        self.box, self.recipients, self.is_encrypted = self.server.box, list[str](), False
        with contextlib.suppress(OSError):
            self._say("220 mailbox")
            while (line := self.rfile.readline().decode().strip()) and not line.startswith("QUIT"):
                answer = getattr(self, f"_on_{line.split(' ')[0].lower()}", self._on_anything)
                answer(line)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def _on_anything(self, line: str) -> None:
        self._say("250 fine" if line.startswith(("MAIL", "mail", "RSET", "rset")) else "502 what")

    def _on_ehlo(self, _: str) -> None:
        offered = ["250-STARTTLS"] if self.box.tls and not self.is_encrypted else []
        self._say("250-mailbox", *offered, "250 AUTH PLAIN")

    def _on_starttls(self, _: str) -> None:
        if self.box.tls is None:
            self._say("502 what")
            return
        self._say("220 go ahead")
        self.connection = self.box.tls.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.is_encrypted = True

    def _on_auth(self, line: str) -> None:
        _, user, password = b64decode(line.split(" ")[2]).decode().split("\0")
        self.box.logins.append((user, password, self.is_encrypted))
        self._say("235 welcome")

    def _on_rcpt(self, line: str) -> None:
        self.recipients.append(line.partition("<")[2].rstrip(">"))
        self._say("550 nobody here" if self.box.refuses else "250 fine")

    def _on_data(self, _: str) -> None:
        self._say("354 go on")
        lines = []
        while (text := self.rfile.readline()) != b".\r\n":
            lines.append(text)
        letter = message_from_bytes(b"".join(lines), _class=EmailMessage, policy=policy.default)
        self.box.letters.append(letter)
        self.box.recipients.append(self.recipients)
        self.box.encrypted.append(self.is_encrypted)
        self._say("250 taken")


@contextlib.contextmanager
def a_mailbox(*, tls: ssl.SSLContext | None = None, refuses: bool = False) -> Iterator[Mailbox]:
    """Start a server that offers STARTTLS if it has a certificate."""
    box = Mailbox(tls, refuses)
    server = _Server(("127.0.0.1", 0), _Door)
    server.box = box
    box.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield box
    server.shutdown()
    thread.join(LIMIT_SECONDS)
    server.server_close()
