"""The one way out, against a server on loopback that misbehaves on command."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from connectors._base import HttpReply, NoReply, NotSent
from connectors._http import MAX_ANSWER_BYTES, AiohttpHttp

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(answer: bytes, seen: list[bytes] | None = None) -> Script:
    """Return a server's script: read one request's head, write these bytes, hang up."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        writer.write(answer)
        await writer.drain()

    return script


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read until the other side gives up."""
    del writer
    await reader.read()


def exchange(script: Script, *, method: str = "GET", timeout_seconds: float = 5.0, times: int = 1) -> HttpReply:
    """Return what `AiohttpHttp` makes of a server that follows the script, after sending the same request `times`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:
            writer.close()

    async def run() -> HttpReply:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, AiohttpHttp(timeout_seconds=timeout_seconds) as http:
            for _ in range(times - 1):
                await http.send(method, f"http://127.0.0.1:{port}/secret-path", headers={})
            return await http.send(method, f"http://127.0.0.1:{port}/secret-path", headers={"X-Key": "value"})

    return asyncio.run(run())


def test_an_answer_comes_back_whole_with_lower_case_names() -> None:
    reply = exchange(answering(b"HTTP/1.1 422 No\r\nContent-Length: 2\r\nRetry-After: 7\r\nX-A: 1\r\nX-A: 2\r\n\r\n{}"))

    assert (reply.status, reply.body) == (422, b"{}")
    assert (reply.headers["retry-after"], reply.headers["x-a"]) == ("7", "1, 2")


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    seen: list[bytes] = []

    reply = exchange(answering(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", seen))

    assert reply.status == 302
    assert len(seen) == 1


def test_nobody_listening_means_not_sent() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/secret-path"

        with pytest.raises(NotSent, match=r"^not sent: ClientConnectorError$"):
            asyncio.run(send(url))


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:99999/"])
def test_a_url_that_leads_nowhere_means_not_sent(url: str) -> None:
    with pytest.raises(NotSent):
        asyncio.run(send(url))


def test_a_failed_tls_handshake_means_not_sent() -> None:
    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            await send(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    with pytest.raises(NotSent):
        asyncio.run(run())


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
def test_a_header_with_a_line_break_is_never_sent(value: str) -> None:
    with pytest.raises(NotSent, match="line break"):
        asyncio.run(send("http://127.0.0.1:9/", header=value))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"this is no HTTP\r\n\r\n",
    ],
)
def test_half_an_answer_is_no_reply_and_names_no_url(answer: bytes) -> None:
    with pytest.raises(NoReply, match=r"^no reply: \w+$") as lost:
        exchange(answering(answer))

    assert lost.value.__cause__ is None
    assert lost.value.__suppress_context__


def test_silence_is_no_reply() -> None:
    with pytest.raises(NoReply):
        exchange(silent, timeout_seconds=0.2)


def test_an_answer_without_end_is_cut_off() -> None:
    flood = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (MAX_ANSWER_BYTES + 1)

    with pytest.raises(NoReply, match="bytes"):
        exchange(answering(flood))


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_a_request_whose_connection_dies_is_not_sent_again(method: str) -> None:
    seen: list[bytes] = []

    async def once_then_dead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if not seen else b"", seen)
        await script(reader, writer)

    with pytest.raises(NoReply):
        exchange(once_then_dead, method=method, times=2)

    assert len(seen) == 2


def test_the_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert exchange(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).status == 200


def test_a_closed_session_sends_nothing() -> None:
    with pytest.raises(NotSent, match="not open"):
        asyncio.run(AiohttpHttp().send("GET", "http://127.0.0.1:9/", headers={}))


async def send(url: str, header: str = "value") -> HttpReply:
    async with AiohttpHttp(timeout_seconds=5) as http:
        return await http.send("POST", url, headers={"X-Key": header}, body=b"{}")
