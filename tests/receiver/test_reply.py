"""The answer in one piece is byte for byte the one that uvicorn gives in two."""

import re
import socket
from collections.abc import Iterator
from typing import Any, Final

import pytest
from starlette.types import Message, Receive, Scope, Send

from receiver.reply import Reply
from tests.receiver.doors import Door, a_server, answers, closes

REPLY: Final = Reply(b'{"status":"stored"}')


WRITTEN: Final[list[bytes]] = []


class _Watched:
    """A transport that remembers what was written, other than nothing."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        WRITTEN.extend([data] if data else [])
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer in one piece, or by the book below /book."""
    if scope["type"] != "http":
        return
    await receive()

    async def by_the_book(message: Message) -> None:
        await send(message)

    if scope["path"] == "/watched":
        cycle: Any = getattr(send, "__self__")  # noqa: B009 (what the type does not tell)
        cycle.transport = _Watched(cycle.transport)
    await REPLY.send(by_the_book if scope["path"] == "/book" else send)


@pytest.fixture(scope="module")
def server() -> Iterator[Door]:
    with a_server(_app) as door:
        yield door


def pieces(connection: socket.socket) -> list[bytes]:
    """Return what comes by the reads it takes, up to the end of the body."""
    found: list[bytes] = []
    while not b"".join(found).endswith(b"}"):
        found.append(connection.recv(65536))
    return found


@pytest.mark.parametrize(
    ("line", "is_last"),
    [
        ("POST %s HTTP/1.1\r\n", False),
        ("POST %s HTTP/1.1\r\nconnection: close\r\n", True),
        ("POST %s HTTP/1.0\r\n", True),
    ],
)
def test_it_says_what_uvicorn_says(server: Door, line: str, *, is_last: bool) -> None:
    said = []
    for path in ("/", "/book"):
        with server.connect() as connection:
            connection.sendall((line % path).encode() + b"content-length: 0\r\n\r\n")
            said.append(b"".join(pieces(connection)))
            assert not is_last or closes(connection)

    dateless = [re.sub(rb"date: [^\r]+ GMT\r\n", b"date\r\n", each) for each in said]
    assert dateless[0] == dateless[1]
    assert b"\r\ndate\r\n" in dateless[0]
    assert b"content-length: 19\r\n" in dateless[0]
    assert (b"connection: close\r\n" in dateless[0]) is is_last


def test_it_is_written_at_once(server: Door) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /watched HTTP/1.1\r\ncontent-length: 0\r\n\r\n")

        assert [b"".join(pieces(connection))] == WRITTEN


def test_every_request_on_a_connection_gets_its_own(server: Door) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n" * 3)

        assert [reply.body for reply in answers(connection, 3)] == [b'{"status":"stored"}'] * 3


def test_who_waits_for_leave_to_send_the_body_gets_it_first(server: Door) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        leave = connection.recv(65536)
        connection.sendall(b"{}")

        assert leave == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert answers(connection, 1)[0].status == 200
