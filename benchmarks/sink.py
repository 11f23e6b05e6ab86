"""A partner that is never the bottleneck: answers 204 and remembers when each `webhook-id` first came.

`python -m benchmarks.sink PORT [CORE]`. GET /received tells the numbers, GET /times the times, GET /forget starts anew.
POST /hang is never answered.
"""

import gc
import os
import socket
import sys
import time
from typing import Final

import orjson

from benchmarks.exchange import Peers, body_length, field, received, send

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
        if name := field(head, b"webhook-id"):
            self.first_times.setdefault(name, self.last_at)

    def answer(self, path: bytes) -> bytes:
        """Return the body for a question."""
        if path == b"/times":
            return orjson.dumps({name.decode(): at for name, at in self.first_times.items()})
        if path == b"/forget":
            self.__init__()  # type: ignore[misc]
        return orjson.dumps({"requests": self.requests, "distinct": len(self.first_times), "last_at": self.last_at})


class Sink:
    """The listening socket, everybody who has connected, and the ledger."""

    def __init__(self, listener: socket.socket, ledger: Ledger) -> None:
        """Note what comes in `ledger`."""
        self._listener = listener
        self._ledger = ledger
        self._peers = Peers()
        self._pieces: dict[int, bytes] = {}
        """What has come of a request that is not whole yet."""
        self._door = self._peers.add(listener)

    def serve(self, seconds: float = 3600.0) -> None:
        """Take what comes within so many seconds."""
        for peer in self._peers.readable(seconds):
            if peer == self._door:
                self._peers.add(self._listener.accept()[0])
            elif data := received(self._peers.sockets[peer]):
                self._take(peer, data)
            else:
                self._pieces.pop(peer, None)
                self._peers.drop(peer)

    def close(self) -> None:
        """Hang up."""
        self._peers.close()

    def _take(self, peer: int, data: bytes) -> None:
        """Answer every whole request in what has come so far."""
        if peer in self._pieces:
            data = self._pieces.pop(peer) + data
        answers = b""
        while (end := data.find(b"\r\n\r\n") + 4) >= 4:  # noqa: PLR2004 (a whole head)
            head = data[:end]
            whole = end + body_length(head)
            if len(data) < whole:
                break
            data = data[whole:]
            answers += self._answer(head)
        if data:
            self._pieces[peer] = data
        if answers:
            send(self._peers.sockets[peer], answers)

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"GET "):
            body = self._ledger.answer(head.split(b" ", 2)[1])
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        if head.startswith(b"POST /hang"):
            return b""
        self._ledger.note(head)
        return _NO_CONTENT


def main(port: int) -> None:
    """Listen until the process is told to end."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        sink = Sink(listener, Ledger())
        gc.freeze()
        while True:
            sink.serve()


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 (port and core)
        os.sched_setaffinity(0, {int(sys.argv[2])})
    main(int(sys.argv[1]))
