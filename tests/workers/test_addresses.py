"""Where a partner's webhook may not go."""

import ipaddress
import socket
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import workers.addresses
from settings import settings
from workers.addresses import FORBIDDEN, may_dial, open_vetted_socket

IN_PUBLIC = replace(settings(), private_endpoints=False)


@pytest.fixture(autouse=True)
def _public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.addresses, "settings", lambda: IN_PUBLIC)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_a_public_address_may_be_dialled(address: str) -> None:
    assert may_dial(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",  # loopback
        "127.255.255.254",
        "::1",
        "10.0.0.1",  # private
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "fc00::1",
        "fd12:3456::1",
        "169.254.169.254",  # link-local, and where clouds keep their credentials
        "169.254.170.2",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.64.0.1",  # carriers' NAT
        "100.127.255.255",
        "224.0.0.1",  # multicast
        "239.255.255.250",
        "ff02::1",
        "0.0.0.0",  # noqa: S104 (an address to refuse)
        "0.1.2.3",
        "::",
        "255.255.255.255",
        "240.0.0.1",  # reserved
        "192.0.0.8",
        "192.0.2.1",  # documentation
        "198.51.100.1",
        "203.0.113.1",
        "2001:db8::1",
        "3fff::1",
        "198.18.0.1",  # benchmarks
        "192.88.99.1",  # 6to4 relays
        "::ffff:127.0.0.1",  # IPv4 in IPv6: mapped
        "::ffff:10.0.0.1",
        "::ffff:1.1.1.1",
        "::127.0.0.1",  # compatible
        "::10.0.0.1",
        "64:ff9b::7f00:1",  # NAT64
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",  # 6to4
        "2002:a00:1::1",
        "2001:0:7f00:1::",  # Teredo
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fec0::1",  # site-local
        "100::1",  # discard
        "5f00::1",
    ],
)
def test_an_address_that_is_not_public_may_not(address: str) -> None:
    assert not may_dial(address)


@hypothesis_settings(max_examples=300)
@given(inner=st.ip_addresses(v=4))
def test_no_ipv4_address_gets_through_in_ipv6s_clothes(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    clothes = [0xFFFF << 32, 0, 0x64FF9B << 96, 0x64FF9B0001 << 80]
    dressed = [ipaddress.IPv6Address(prefix | number) for prefix in clothes]
    dressed.append(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))
    dressed.append(ipaddress.IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)))

    assert not any(may_dial(str(address)) for address in dressed)


@hypothesis_settings(max_examples=300)
@given(address=st.ip_addresses())
def test_whatever_may_be_dialled_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if may_dial(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


def test_a_development_machine_may_dial_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.addresses, "settings", lambda: replace(IN_PUBLIC, private_endpoints=True))

    assert may_dial("127.0.0.1")


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80, 0, 0)), (socket.AF_UNIX, "/run/x.sock")],
)
def test_no_socket_is_opened_for_what_may_not_be_dialled(family: int, address: object) -> None:
    assert open_vetted_socket(0, (family, socket.SOCK_STREAM, 0, address)) == FORBIDDEN


def test_a_socket_is_opened_for_a_public_address() -> None:
    opened = open_vetted_socket(0, (socket.AF_INET, socket.SOCK_STREAM, 0, ("1.1.1.1", 443)))

    assert isinstance(opened, socket.socket)
    opened.close()
