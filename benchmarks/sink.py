"""A partner that is never the bottleneck: answers 204 and remembers when each `webhook-id` first came.

`python -m benchmarks.sink PORT [CORE]`. GET /received tells the numbers, GET /times the times, GET /forget starts anew.
POST /hang is never answered.
"""

import asyncio
import gc
import os
import re
import sys
import time
from typing import Final

import orjson
import uvloop

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ID: Final = re.compile(rb"webhook-id: *([^\r]+)", re.IGNORECASE)
_NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class Ledger:
    """What was received since it was last forgotten."""

    def __init__(self) -> None:
        """Remember nothing."""
        self.requests = 0
        self.last_at = 0.0
        self.first_times: dict[bytes, float] = {}

    def note(self, head: bytes) -> None:
        """Count one POST."""
        self.requests += 1
        self.last_at = time.monotonic()
        found = _ID.search(head)
        if found:
            self.first_times.setdefault(found.group(1), self.last_at)

    def answer(self, path: bytes) -> bytes:
        """Return the body for a question."""
        if path == b"/times":
            return orjson.dumps({name.decode(): at for name, at in self.first_times.items()})
        if path == b"/forget":
            self.__init__()  # type: ignore[misc]
        return orjson.dumps({"requests": self.requests, "distinct": len(self.first_times), "last_at": self.last_at})


class Sink(asyncio.Protocol):
    """One connection to the sink."""

    def __init__(self, ledger: Ledger) -> None:
        """Note what comes in `ledger`."""
        self._ledger = ledger
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport for the answers."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request in what has come so far."""
        received = self._received + data if self._received else data
        answers = []
        while (end := received.find(b"\r\n\r\n")) >= 0:
            head = received[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length.group(1)) if length else 0)
            if len(received) < whole:
                break
            received = received[whole:]
            answers.append(self._answer(head))
        self._received = received
        if answers:
            self._transport.write(b"".join(answers))

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"GET "):
            body = self._ledger.answer(head.split(b" ", 2)[1])
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        if head.startswith(b"POST /hang"):
            return b""
        self._ledger.note(head)
        return _NO_CONTENT


async def serve(port: int) -> None:
    """Listen until the process is told to end."""
    ledger = Ledger()
    server = await asyncio.get_running_loop().create_server(lambda: Sink(ledger), "127.0.0.1", port, backlog=1024)
    gc.freeze()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 (port and core)
        os.sched_setaffinity(0, {int(sys.argv[2])})
    uvloop.run(serve(int(sys.argv[1])))
