"""Which addresses a partner's webhook may be dialled at: public ones, unless this is a development machine."""

import ipaddress
import socket
from typing import Any

from settings import settings


def may_dial(address: str) -> bool:
    """Tell whether a resolved IP address may be connected to. Checked on the address really dialled, not on a name."""
    if settings().private_endpoints:
        return True
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip in _NAT64:
            return False
    return ip.is_global and not ip.is_multicast


def open_vetted_socket(purpose: int, peer: Any) -> "socket.socket | int":
    """Open a socket for libcurl (OPENSOCKETFUNCTION), or refuse the address."""
    del purpose
    family, kind, protocol, address = peer
    if family not in (socket.AF_INET, socket.AF_INET6) or not may_dial(address[0]):
        return -1
    return socket.socket(family, kind, protocol)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
