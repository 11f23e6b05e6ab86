"""Which addresses a partner's webhook may be dialled at: public ones, unless this is a development machine."""

import ipaddress
import socket
from typing import Any, Final

from settings import settings

FORBIDDEN: Final = -1
"""What libcurl takes for "no socket"."""


def may_dial(address: str) -> bool:
    """Tell whether a resolved IP address may be connected to. Checked on the address really dialled, not on a name."""
    if settings().private_endpoints:
        return True
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    is_public = ip.is_global and not ip.is_multicast and any(ip in network for network in _PUBLIC)
    return is_public and not any(ip in network for network in _RESERVED)


def open_vetted_socket(purpose: int, peer: Any) -> "socket.socket | int":
    """Open a socket for libcurl (OPENSOCKETFUNCTION), or refuse the address."""
    del purpose
    family, kind, protocol, address = peer
    if family not in (socket.AF_INET, socket.AF_INET6) or not may_dial(address[0]):
        return FORBIDDEN
    return _Lent(family, kind, protocol)


class _Lent(socket.socket):
    """A socket whose descriptor pycurl duplicates, before it drops this object without closing it."""

    def __del__(self) -> None:
        self.close()


_PUBLIC: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("2000::/3"))
"""All of IPv6 that is given out. IPv4 in its clothes (mapped, compatible, NAT64) and site-local stay outside."""

_RESERVED: Final = (
    ipaddress.ip_network("192.0.0.0/24"),  # the IETF's own; not every Python calls all of it special
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.ip_network("2001::/23"),  # Teredo and the IETF's own
    ipaddress.ip_network("2002::/16"),  # 6to4: holds an IPv4 address that would be dialled in the end
    ipaddress.ip_network("3fff::/20"),  # documentation
)
