"""uvicorn's HTTP protocol with the bounds it does not have itself: on the head, on time, on what follows an answer.

Without them one connection could send header after header until memory ends, or a byte a minute for ever.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from receiver.problems import Problem

LARGEST_HEAD: Final = 64 * 1024
"""For the head, and again for whatever comes between pieces of body: chunk sizes and trailers."""
LARGEST_IGNORED: Final = 1024 * 1024
"""Of a body whose answer is out already; then we hang up. Hanging up at once could lose the answer on its way."""
MESSAGE_SECONDS: Final = 15.0
"""For one whole request, from its first byte (of the first one: from the connection's begin) to its last."""

MALFORMED: Final = Problem(400, "malformed_request", "This is not an HTTP request")
TOO_SLOW: Final = Problem(408, "request_too_slow", "The request did not arrive in time")
HEAD_TOO_LARGE: Final = Problem(431, "too_many_headers", "The header fields are larger than 64 KiB")


class BoundedProtocol(HttpToolsProtocol):
    """Refuses what does not end, and answers malformed requests with a problem document."""

    _head_bytes = 0
    _ignored_bytes = 0
    _is_arriving = True
    _began_at = 0.0
    _watch: asyncio.TimerHandle | None = None
    _malformed = MALFORMED
    _refusal: Problem | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._began_at = self.loop.time()
        self._watch = self.loop.call_later(MESSAGE_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        if self._watch:
            self._watch.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Still answer a gateway that closes its side once it has said everything."""
        waits = self.cycle is not None and not self._is_arriving and not self.cycle.response_complete
        if waits:
            self.cycle.keep_alive = False
        return waits

    def on_message_begin(self) -> None:
        """Start the clock of this request."""
        super().on_message_begin()
        self._is_arriving = True
        self._began_at = self.loop.time()
        self._ignored_bytes = 0

    def on_headers_complete(self) -> None:
        """Stop counting the head: from here on the app bounds the body."""
        if self._head_bytes > LARGEST_HEAD and _size(self.headers) + len(self.url) > LARGEST_HEAD:
            self._malformed = HEAD_TOO_LARGE
            raise ValueError("head too large")
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Give the body to the app, or throw it away if the app has answered."""
        self._head_bytes = 0
        if self.cycle.response_complete:
            self._ignored_bytes += len(body)
            if self._ignored_bytes > LARGEST_IGNORED:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that nothing of this request is missing any more."""
        self._is_arriving = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or with the refusal that had to wait for this answer."""
        super().on_response_complete()
        if self._refusal:
            self._refuse(self._refusal)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and hang up on a head that does not end."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > LARGEST_HEAD:
            self._refuse(HEAD_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refuses."""
        del msg
        self._refuse(self._malformed)

    def _look(self) -> None:
        """Hang up if the request under way has taken too long."""
        left = self._began_at + MESSAGE_SECONDS - self.loop.time() if self._is_arriving else MESSAGE_SECONDS
        if left > 0:
            self._watch = self.loop.call_later(left, self._look)
        else:
            self._refuse(TOO_SLOW)

    def _refuse(self, problem: Problem) -> None:
        """Answer in the app's place, in its turn, and hang up."""
        cycle = self.cycle
        is_its_own = self._is_arriving and cycle is not None and cycle.scope is self.scope
        if self.transport.is_closing():
            return
        if self.pipeline or (cycle is not None and not is_its_own and not cycle.response_complete):
            # An earlier request still waits for its answer, and would take this one for it.
            self._refusal = problem
            self.flow.pause_reading()
            return
        if not (is_its_own and cycle.response_started):
            lines = [f"{name}: {value}\r\n".encode() for name, value in problem.headers.items()]
            head = [STATUS_LINE[problem.status], *lines, b"connection: close\r\n\r\n"]
            self.transport.write(b"".join(head) + problem.body)
        self.transport.close()


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in headers)
