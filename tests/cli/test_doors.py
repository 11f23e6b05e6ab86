"""Where commands find the doors of the service that runs on this machine."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import settings
from cli._doors import near
from cli.serve import wait_ready
from embedded.crew import Crew

Bind = Callable[..., None]


@pytest.fixture
def bind(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bind]:
    """Give a way to set the address that the doors listen on."""

    def told(address: str, **more: str) -> None:
        for name, value in {"RATCHET_BIND": address, **more}.items():
            monkeypatch.setenv(name, value)
        settings.settings.cache_clear()

    yield told
    monkeypatch.undo()
    settings.settings.cache_clear()


class Ready(BaseHTTPRequestHandler):
    """Answers 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("127.0.0.1", "127.0.0.1:8400"),
        ("10.0.0.5", "10.0.0.5:8400"),
        ("0.0.0.0", "127.0.0.1:8400"),  # noqa: S104 (a value, bound by nobody)
        ("", "127.0.0.1:8400"),
        ("::", "[::1]:8400"),
        ("fd00::5", "[fd00::5]:8400"),
        ("payouts.internal", "payouts.internal:8400"),
    ],
)
def test_a_door_is_found_where_it_listens_and_on_loopback_if_that_is_everywhere(
    bind: Bind, address: str, where: str
) -> None:
    bind(address)

    assert near(8400) == where


@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2"])
def test_doors_on_another_address_get_ready_too(bind: Bind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        server = ThreadingHTTPServer(("127.0.0.2", 0), Ready)
    except OSError:
        pytest.skip("this system has one loopback address")
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_port)
        bind("127.0.0.2", **{f"RATCHET_{door}_PORT": port for door in ("RECEIVER", "PARTNERS", "OPERATORS")})
        monkeypatch.setattr("cli.serve.READY_SECONDS", 10.0)

        wait_ready(Crew({}, tmp_path))

        server.shutdown()
