"""The last word on where a webhook goes: said when libcurl opens a socket, about the address that it really dials."""

import socket
from typing import Any, Final

from payouts.addresses import may_dial

FORBIDDEN: Final = -1
"""What libcurl takes for "no socket"."""


def open_vetted_socket(peer: Any, *, plain: bool = False) -> "socket.socket | int":
    """Open a socket for libcurl (OPENSOCKETFUNCTION), or refuse the address; `plain` is http."""
    family, kind, protocol, address = peer
    if family not in (socket.AF_INET, socket.AF_INET6) or not may_dial(address[0], address[1], plain=plain):
        return FORBIDDEN
    return _Lent(family, kind, protocol)


class _Lent(socket.socket):
    """A socket whose descriptor pycurl duplicates, before it drops this object without closing it."""

    def __del__(self) -> None:
        self.close()
