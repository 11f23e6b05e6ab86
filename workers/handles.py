"""libcurl's handles: how every request of ours is made, whatever it carries and wherever it goes."""

import socket
import ssl
from datetime import timedelta
from typing import Any, Final

import pycurl

from workers.addresses import FORBIDDEN, open_vetted_socket

CONNECT_TIMEOUT_MS: Final = 5_000
LARGEST_ANSWER: Final = 64 * 1024
"""Read at most; a partner that answers more is cut off, and its status counts."""


class Handle:
    """One handle, used for one request after the other, and what came of the last.

    Not kept in attributes of pycurl's object: before it finds one, it makes and drops an AttributeError.
    """

    def __init__(self, timeout: timedelta) -> None:
        """`timeout` is for each request as a whole."""
        self.curl: Any = pycurl.Curl()
        self.answer = bytearray()
        self.was_refused = False
        """Whether an address of the last request may not be dialled."""
        self._is_plain = False
        self._set_up(timeout)

    def load(self, url: str, headers: list[str], body: bytes) -> None:
        """Make ready for a POST. Raises what pycurl does about a strange URL."""
        self.curl.setopt(pycurl.URL, url)
        self.curl.setopt(pycurl.POSTFIELDS, body)
        self.curl.setopt(pycurl.HTTPHEADER, headers)
        self.answer.clear()
        self.was_refused = False
        self._is_plain = not url.startswith("https:")

    def _set_up(self, timeout: timedelta) -> None:
        known = ssl.get_default_verify_paths()
        for option, value in (
            (pycurl.POST, 1),
            (pycurl.NOSIGNAL, 1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.PROXY, ""),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.TIMEOUT_MS, int(timeout.total_seconds() * 1000)),
            (pycurl.CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS),
            (pycurl.OPENSOCKETFUNCTION, self._open_socket),
            (pycurl.WRITEFUNCTION, self._write),
            (pycurl.USERAGENT, "Ratchet/0.1"),
            # This machine's certificate authorities, or those of SSL_CERT_FILE. libcurl's wheel knows one path only.
            (pycurl.CAINFO, known.cafile),
            (pycurl.CAPATH, known.capath),
        ):
            if value is not None:
                self.curl.setopt(option, value)

    def _open_socket(self, _purpose: int, peer: Any) -> "socket.socket | int":
        vetted = open_vetted_socket(peer, plain=self._is_plain)
        self.was_refused = self.was_refused or vetted == FORBIDDEN
        return vetted

    def _write(self, chunk: bytes) -> int | None:
        if len(self.answer) >= LARGEST_ANSWER:
            return -1
        self.answer.extend(chunk)
        return None
