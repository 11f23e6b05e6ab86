"""What the load generator and the sink have in common: plain sockets, one epoll, and how long an HTTP message is.

They share the machine with what they measure, so they may cost little: on uvloop each took an eighth more.
"""

import select
import socket
from typing import Final

PIECE: Final = 64 * 1024
"""Bytes read at once."""


class Peers:
    """Connected sockets by their descriptors. They block, but are only read when something is there."""

    def __init__(self) -> None:
        """Have none."""
        self.sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()

    def add(self, peer: socket.socket) -> int:
        """Watch it, and return its descriptor."""
        self.sockets[peer.fileno()] = peer
        self._epoll.register(peer.fileno(), select.EPOLLIN)
        return peer.fileno()

    def drop(self, descriptor: int) -> None:
        """Close it."""
        self._epoll.unregister(descriptor)
        self.sockets.pop(descriptor).close()

    def close(self) -> None:
        """Close all."""
        for descriptor in list(self.sockets):
            self.drop(descriptor)
        self._epoll.close()

    def readable(self, seconds: float) -> list[int]:
        """Return whom there is something of to read, once there is anybody or the time is up."""
        return [descriptor for descriptor, _ in self._epoll.poll(max(0.0, seconds))]


def connected(port: int) -> socket.socket:
    """Return a connection to a port on loopback."""
    peer = socket.create_connection(("127.0.0.1", port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def send(peer: socket.socket, data: bytes) -> None:
    """Send all of it. Whoever has hung up is noticed when something of theirs is read."""
    try:  # noqa: SIM105 (a context manager costs as much as the call)
        peer.sendall(data)
    except ConnectionError:
        pass


def received(peer: socket.socket) -> bytes:
    """Return what has come, and nothing once the other side has hung up."""
    try:
        return peer.recv(PIECE)
    except ConnectionError:
        return b""


def field(head: bytes, name: bytes) -> bytes:
    """Return a field of a head, and nothing where it has none. `name` in lower case.

    Found in what all is lower case of: a pattern that ignores case looks at every byte on its own.
    """
    start = head.lower().find(b"\r\n%b:" % name) + len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip() if start > len(name) + 2 else b""


def body_length(head: bytes) -> int:
    """Return how long the body behind a head is."""
    return int(field(head, b"content-length") or 0)
