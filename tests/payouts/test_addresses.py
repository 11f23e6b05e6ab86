"""Where a partner's webhook may not go."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import payouts.addresses
from payouts.addresses import Resolve, VettedUrl, vet
from payouts.refused import Refused
from settings import Settings, settings
from tests.laws import IN_MEMORY
from workers.addresses import FORBIDDEN, open_vetted_socket

IN_PUBLIC = replace(settings(), private_endpoints=False)


def may_dial(address: str) -> bool:
    """Tell whether it may be dialled by https at its usual port."""
    return payouts.addresses.may_dial(address, 443)


@pytest.fixture(autouse=True)
def _public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts.addresses, "settings", lambda: IN_PUBLIC)


@pytest.fixture
def development(monkeypatch: pytest.MonkeyPatch) -> None:
    _tell(monkeypatch, private_endpoints=True)


def _tell(monkeypatch: pytest.MonkeyPatch, **told: object) -> None:
    known: Settings = replace(IN_PUBLIC, **told)  # type: ignore[arg-type]
    monkeypatch.setattr(payouts.addresses, "settings", lambda: known)


def resolving_to(*addresses: str) -> Resolve:
    def resolve(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return resolve


def refusal(url: str, *addresses: str) -> str:
    with pytest.raises(Refused) as refused:
        vet(url, resolving_to(*addresses))
    assert str(refused.value)
    return refused.value.code


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


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "fd00::1"])
def test_a_development_machine_may_dial_itself_and_its_neighbours(development: None, address: str) -> None:
    assert payouts.addresses.may_dial(address, 3000, plain=True)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"])  # noqa: S104
def test_not_even_a_development_machine_dials_what_is_never_a_partner(development: None, address: str) -> None:
    assert not may_dial(address)


def test_only_the_networks_that_are_named_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    _tell(monkeypatch, private_networks=("10.20.0.0/16", "fd00:1::/64"))

    assert payouts.addresses.may_dial("10.20.3.4", 8080, plain=True)
    assert payouts.addresses.may_dial("fd00:1::7", 8080, plain=True)
    assert not may_dial("10.21.0.1")
    assert not may_dial("127.0.0.1")


def test_http_goes_to_no_public_address_not_even_in_development(development: None) -> None:
    assert not payouts.addresses.may_dial("1.1.1.1", 443, plain=True)
    assert payouts.addresses.may_dial("1.1.1.1", 443)


@pytest.mark.parametrize("port", [22, 25, 80, 3306, 5432, 6379, 8080])
def test_a_port_that_is_not_ours_to_knock_at_is_not_dialled(port: int) -> None:
    assert not payouts.addresses.may_dial("1.1.1.1", port)


# --- the socket


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("127.0.0.1", 443)),
        (socket.AF_INET6, ("::1", 443, 0, 0)),
        (socket.AF_UNIX, "/run/x.sock"),
        (socket.AF_INET, ("1.1.1.1", 6379)),
    ],
)
def test_no_socket_is_opened_for_what_may_not_be_dialled(family: int, address: object) -> None:
    assert open_vetted_socket((family, socket.SOCK_STREAM, 0, address)) == FORBIDDEN


def test_a_socket_is_opened_for_a_public_address_and_not_for_http() -> None:
    peer = (socket.AF_INET, socket.SOCK_STREAM, 0, ("1.1.1.1", 443))
    opened = open_vetted_socket(peer)

    assert isinstance(opened, socket.socket)
    opened.close()
    assert open_vetted_socket(peer, plain=True) == FORBIDDEN


# --- the URL


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://partner.example/hooks", "https://partner.example/hooks"),
        ("HTTPS://Partner.Example:443", "https://partner.example/"),
        ("https://partner.example./a?b=c&d", "https://partner.example/a?b=c&d"),
        ("https://partner.example:8443/a%20b", "https://partner.example:8443/a%20b"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://ｐartner.example/", "https://partner.example/"),  # noqa: RUF001 (a full-width p)
        ("https://1.1.1.1/", "https://1.1.1.1/"),
        ("https://[2606:4700:4700:0::1111]/", "https://[2606:4700:4700::1111]/"),
    ],
)
def test_a_url_is_stored_in_one_way_of_writing_it(url: str, stored: str) -> None:
    assert vet(url, resolving_to("1.1.1.1")) == VettedUrl(stored)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://partner.example/", "url_not_https"),
        ("ftp://partner.example/", "url_not_https"),
        ("file:///etc/passwd", "url_not_https"),
        ("gopher://partner.example/", "url_not_https"),
        ("javascript:alert(1)", "url_not_https"),
        ("partner.example/hooks", "url_not_https"),
        ("", "url_not_https"),
        ("https://", "url_invalid"),
        ("https:///hooks", "url_invalid"),
        ("https://intranet/", "url_invalid"),
        ("https://localhost/", "url_invalid"),
        ("https://user:pass@partner.example/", "url_has_credentials"),
        ("https://user@partner.example/", "url_has_credentials"),
        ("https://1.1.1.1@127.0.0.1/", "url_has_credentials"),
        ("https://partner.example/#part", "url_invalid"),
        ("https://partner.example/#", "url_invalid"),
        ("https://partner.example/a b", "url_invalid"),
        ("https://partner.example/\r\nx: y", "url_invalid"),
        ("\thttps://partner.example/", "url_invalid"),
        ("https://partner.example\\@127.0.0.1/", "url_invalid"),
        ("https://partner.example/ü", "url_invalid"),
        ("https://partner.example:22/", "url_port_forbidden"),
        ("https://partner.example:80/", "url_port_forbidden"),
        ("https://partner.example:0/", "url_port_forbidden"),
        ("https://partner.example:99999/", "url_invalid"),
        ("https://partner.example:x/", "url_invalid"),
        ("https://[::1/", "url_invalid"),
        ("https://[fe80::1%25eth0]/", "url_invalid"),
        ("https://par_tner.example/", "url_invalid"),
        ("https://-.example/", "url_invalid"),
        ("https://%31%32%37.0.0.1/", "url_invalid"),
        ("https://" + "a" * 64 + ".example/", "url_invalid"),
        ("https://partner.example/" + "a" * 2048, "url_invalid"),
        # addresses in disguise: some take them for names, libcurl dials them
        ("https://2130706433/", "url_invalid"),
        ("https://0x7f000001/", "url_invalid"),
        ("https://0x7f.1/", "url_invalid"),
        ("https://127.1/", "url_invalid"),
        ("https://0177.0.0.1/", "url_invalid"),
        ("https://127.0.0.1.", "url_not_public"),
        ("https://１２７.0.0.1/", "url_not_public"),  # noqa: RUF001 (full-width digits)
        ("https://127。0。0。1/", "url_not_public"),
    ],
)
def test_a_url_that_is_not_plainly_one_of_a_partner_is_refused(url: str, code: str) -> None:
    resolve_as_they_are = lambda host, _port: [host] if host[:1].isdigit() or ":" in host else ["1.1.1.1"]  # noqa: E731

    with pytest.raises(Refused) as refused:
        vet(url, resolve_as_they_are)

    assert refused.value.code == code


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["64:ff9b::a00:1"], ["169.254.169.254"], ["fe80::1%eth0"]]
)
def test_a_name_that_resolves_to_anything_of_ours_is_refused(addresses: Sequence[str]) -> None:
    assert refusal("https://partner.example/", *addresses) == "url_not_public"


@pytest.mark.parametrize("host", ["10.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "169.254.169.254"])
def test_an_address_of_our_own_is_refused_by_the_resolver_of_this_machine_too(host: str) -> None:
    with pytest.raises(Refused) as refused:
        vet(f"https://{host}/")

    assert refused.value.code == "url_not_public"


def test_a_name_that_does_not_resolve_yet_is_taken() -> None:
    assert vet("https://hooks.partner.invalid/") == VettedUrl("https://hooks.partner.invalid/")


def test_in_development_a_name_without_dots_and_any_port_will_do(development: None) -> None:
    assert vet("http://localhost:3000/hooks") == VettedUrl("http://localhost:3000/hooks")
    assert vet("https://10.0.0.1:9443") == VettedUrl("https://10.0.0.1:9443/")


def test_in_development_http_stays_at_home(development: None) -> None:
    assert refusal("http://partner.example/", "1.1.1.1") == "url_not_https"
    assert refusal("https://partner.example:9443/", "1.1.1.1") == "url_port_forbidden"


@IN_MEMORY
@given(text=st.text(max_size=60))
def test_any_text_is_vetted_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://partner.example/{text}"):
        try:
            vetted = vet(url, resolving_to("1.1.1.1")).text
        except Refused:
            continue
        assert vet(vetted, resolving_to("1.1.1.1")).text == vetted
        assert vetted.isascii()
