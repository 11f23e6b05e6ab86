"""`ratchet sandbox`: the sandbox gateways, and test accounts at them, for payouts of test keys."""

import contextlib
import json
import secrets
import signal
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import click

import settings
from cli._doors import near
from embedded import processes

CREDENTIALS: Final = {
    "mollie": ("api_key",),
    "fedapay": ("secret_key",),
    "paycore": ("account_id", "api_key"),
    "zopay": ("secret_key",),
    "bridgerpay": ("api_key", "user_name", "password"),
}
PREFIXES: Final = {"mollie": "test_", "zopay": "sk_live_"}
"""What a gateway tells a mode by. ZoPay's own test mode makes one payout of two equal orders: not ours."""
BASE_PATHS: Final = {
    "mollie": "/mollie",
    "fedapay": "/fedapay/v1",
    "paycore": "/paycore/api",
    "zopay": "/zopay/connect/v1",
    "bridgerpay": "/bridgerpay",
}
CURRENCIES: Final = {"mollie": ["EUR"], "fedapay": ["XOF"], "paycore": ["USD"], "bridgerpay": ["EUR", "GBP"]}
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "mollie": {"balance_id": "bal_test"},
    "bridgerpay": {"provider": "sandbox"},
}
ACCOUNT: Final = {"account_id": "account_id", "user_name": "account_id", "password": "password"}
"""What the sandbox calls our credentials, beside the one that is its API key."""


@click.command()
@click.option("--port", type=int, default=9400, show_default=True)
def sandbox(port: int) -> None:
    """Run the sandbox gateways until Ctrl-C, with a test account at each: `mollie-test`, `fedapay-test` and so on.

    Payouts of test keys go there and nowhere else; the last digits of their amounts decide what becomes of them
    (docs/api.md). `ratchet up --sandbox` does it as well.
    """
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    with sandbox_gateways(settings.home(), port):
        told_to_stop.wait()


@contextlib.contextmanager
def sandbox_gateways(folder: Path, port: int | None = None) -> Iterator[int]:
    """Run a sandbox with magic amounts, and an account of ours at each of its gateways. Yields its port."""
    port = port or processes.free_ports(1)[0]
    log = folder / "logs" / "sandbox.log"
    process = processes.start([sys.executable, "-m", "sandbox", "--port", str(port)], log)
    try:
        processes.wait_until(lambda: _answers(port), process, log)
        _call(port, "/_sandbox/behaviour", {"magic_amounts": True})
        for connector in BASE_PATHS:
            _call(port, f"/_sandbox/gateways/{connector}", _introduced(connector, port))
        slugs = ", ".join(f"{connector}-test" for connector in BASE_PATHS)
        click.echo(f"  sandbox gateways     http://127.0.0.1:{port}, test accounts {slugs}")
        yield port
    finally:
        processes.stop(process)


def _introduced(connector: str, port: int) -> dict[str, str]:
    """Keep a test account at one gateway, where the sandbox is now, and return what the sandbox has to know of it."""
    from sqlmodel import select

    from models.database import transaction
    from models.integration import Integration, IntegrationSecrets

    slug, now = f"{connector}-test", datetime.now(UTC)
    with transaction() as session:
        known = session.exec(select(Integration).where(Integration.slug == slug)).one_or_none()
        integration = known or Integration(
            slug=slug,
            connector=connector,
            options=OPTIONS.get(connector, {}),
            currencies=CURRENCIES.get(connector),
            test_mode=True,
            sealed=b"",
            has_webhook_secret=False,
            created_at=now,
            updated_at=now,
        )
        if not integration.test_mode:
            raise click.ClickException(f"{slug} is an account that moves money; rename it, or add a sandbox by hand")
        if known is None:
            integration.keep(IntegrationSecrets((_webhook_secret(connector),), _credentials(connector)))
        integration.base_url = f"http://127.0.0.1:{port}{BASE_PATHS[connector]}"
        session.add(integration)
        opened = integration.secrets()
    credentials = dict(opened.credentials)
    account = {
        "webhook_url": f"http://{near(settings.settings().receiver_port)}/webhooks/{slug}",
        "webhook_secret": opened.webhook_secrets[0],
        "api_key": credentials.get("api_key") or credentials["secret_key"],
    }
    return account | {ACCOUNT[name]: value for name, value in credentials.items() if name in ACCOUNT}


def _credentials(connector: str) -> dict[str, str]:
    prefix = PREFIXES.get(connector, "")
    return {name: f"{prefix}{secrets.token_hex(16)}" for name in CREDENTIALS[connector]}


def _webhook_secret(connector: str) -> str:
    secret = secrets.token_bytes(24)
    return f"whsec_{b64encode(secret).decode()}" if connector == "zopay" else secret.hex()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        _call(port, "/_sandbox/behaviour", {})
        return True
    return False


def _call(port: int, path: str, body: dict[str, Any]) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("PUT", path, json.dumps(body))
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status >= 300:  # noqa: PLR2004 (HTTP's own classes)
        raise click.ClickException(f"the sandbox answered {answer.status} to {path}: {content[:200]!r}")
