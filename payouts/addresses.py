"""Where a partner's webhook may go: public addresses by https, unless this is a development machine.

Asked twice. When a URL is saved, for its form and for what its name resolves to now; and whenever a socket is opened,
for the address really dialled, because a name may resolve to something else by then (workers/addresses.py).
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

import idna

from payouts.refused import Refused
from settings import settings

LONGEST_URL: Final = 2_048
HTTPS_PORT: Final = 443
HTTP_PORT: Final = 80

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class VettedUrl:
    """A URL that an endpoint may have, written out in one way only. `vet` alone makes one."""

    text: str = field(repr=False)


def vet(url: str, resolve: "Resolve | None" = None) -> VettedUrl:
    """Return the URL as it is stored. Raises `Refused`. Asks the resolver, so never call it in a transaction.

    A name that does not resolve is taken: it may before the first webhook is due, and the address dialled is vetted.
    """
    parts = _split(url)
    host = _host(parts)
    port = _port(parts)
    for address in (resolve or _resolve)(host, port):
        if not may_dial(address, port, plain=parts.scheme == "http"):
            raise _refused_address(parts.scheme, port)
    shown = f"[{host}]" if ":" in host else host
    usual = HTTPS_PORT if parts.scheme == "https" else HTTP_PORT
    place = shown if port == usual else f"{shown}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    return VettedUrl(f"{parts.scheme}://{place}{parts.path or '/'}{query}")


def may_dial(address: str, port: int, *, plain: bool = False) -> bool:
    """Tell whether a resolved IP address may be connected to at this port; `plain` is http."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if any(ip in network for network in _development()):
        return True
    return not plain and port in settings().endpoint_ports and is_public(ip)


def is_public(ip: Address) -> bool:
    """Tell whether everybody could reach this address, and not only we."""
    reachable = ip.is_global and not ip.is_multicast and any(ip in network for network in _PUBLIC)
    return reachable and not any(ip in network for network in _RESERVED)


def is_development() -> bool:
    """Tell whether any private address may be dialled, and with it plain http."""
    return bool(_development())


def _split(url: str) -> SplitResult:
    if len(url) > LONGEST_URL:
        raise Refused("url_invalid", f"a URL of more than {LONGEST_URL} characters; make it shorter")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise Refused("url_invalid", "this is no URL; give one like https://partner.example/hooks") from None
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and not is_development()):
        raise Refused("url_not_https", "a URL must start with https:// (http is for development only)")
    if _UNSAFE.search(parts.path + parts.query) or _SPACE.search(url) or "\\" in url:
        raise Refused("url_invalid", "percent-encode what is no plain character, in path and query")
    if "@" in parts.netloc:
        raise Refused("url_has_credentials", "no user or password in the URL; send a header of your own instead")
    if parts.fragment or url.endswith("#"):
        raise Refused("url_invalid", "a fragment (#…) is never sent; leave it out")
    return parts


def _host(parts: SplitResult) -> str:
    """Return the host as it is dialled: an address written out, or a name in ASCII."""
    host = (parts.hostname or "").rstrip(".")
    if parts.netloc.startswith("["):
        return _literal(host)
    try:
        name = idna.encode(host, uts46=True, transitional=False, std3_rules=True).decode() if host else ""
    except idna.IDNAError:
        raise Refused("url_invalid", "the host is no name that exists in DNS") from None
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _literal(name)
    if not name or ("." not in name and not is_development()):
        raise Refused("url_invalid", "the host must be a full name, like hooks.partner.example")
    return name


def _literal(host: str) -> str:
    """Return an address in its usual form. 127.1, 0x7f.1 and 2130706433 are addresses to some and names to others."""
    try:
        return str(ipaddress.ip_address(host if "%" not in host else ""))
    except ValueError:
        raise Refused("url_invalid", "write an address out in its usual form, or better give a name") from None


def _port(parts: SplitResult) -> int:
    port = parts.port if parts.port is not None else HTTPS_PORT if parts.scheme == "https" else HTTP_PORT
    if port not in settings().endpoint_ports and not is_development():
        raise Refused("url_port_forbidden", f"the port must be one of {_allowed_ports()}")
    return port


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]


def _refused_address(scheme: str, port: int) -> Refused:
    if scheme == "http":
        return Refused("url_not_https", "http is for addresses of this development machine only; use https://")
    if port not in settings().endpoint_ports:
        return Refused("url_port_forbidden", f"the port must be one of {_allowed_ports()}")
    return Refused(
        "url_not_public", "the host resolves to an address that is not public; use one that everybody reaches"
    )


def _allowed_ports() -> str:
    return ", ".join(map(str, settings().endpoint_ports))


def _development() -> tuple[Network, ...]:
    known = settings()
    return _networks((*_PRIVATE, *known.private_networks) if known.private_endpoints else known.private_networks)


@cache
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in texts)


_UNSAFE: Final = re.compile(r"[^!-~]|[\"<>^`{|}]")
_SPACE: Final = re.compile(r"[\x00-\x20\x7f]")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")

_PRIVATE: Final = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""What RATCHET_PRIVATE_ENDPOINTS opens. Not link-local: that is where clouds keep their credentials."""

_PUBLIC: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("2000::/3"))
"""All of IPv6 that is given out. IPv4 in its clothes (mapped, compatible, NAT64) and site-local stay outside."""

_RESERVED: Final = (
    ipaddress.ip_network("192.0.0.0/24"),  # the IETF's own; not every Python calls all of it special
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.ip_network("2001::/23"),  # Teredo and the IETF's own
    ipaddress.ip_network("2002::/16"),  # 6to4: holds an IPv4 address that would be dialled in the end
    ipaddress.ip_network("3fff::/20"),  # documentation
)
