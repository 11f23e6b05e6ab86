"""uvicorn's HTTP protocol with a bound on the request head, which it does not have itself.

Without it one connection could send header after header until memory ends.
"""

from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from receiver.problems import Problem

LARGEST_HEAD: Final = 64 * 1024

MALFORMED: Final = Problem(400, "malformed_request", "This is not an HTTP request")
HEAD_TOO_LARGE: Final = Problem(431, "too_many_headers", "The header fields are larger than 64 KiB")


class BoundedProtocol(HttpToolsProtocol):
    """Refuses an endless head, and answers malformed requests with a problem document."""

    _head_bytes = 0
    _head_is_open = True

    def on_message_begin(self) -> None:
        """Start counting."""
        super().on_message_begin()
        self._head_is_open = True

    def on_headers_complete(self) -> None:
        """Stop counting: from here on the app bounds the body."""
        self._head_is_open = False
        self._head_bytes = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and hang up on a head that does not end."""
        super().data_received(data)
        if self._head_is_open and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._refuse(HEAD_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refuses."""
        del msg
        self._refuse(MALFORMED)

    def _refuse(self, problem: Problem) -> None:
        lines = [f"{name}: {value}\r\n".encode() for name, value in problem.headers.items()]
        self.transport.write(
            b"".join([STATUS_LINE[problem.status], *lines, b"connection: close\r\n\r\n", problem.body])
        )
        self.transport.close()
