"""Integrations and payouts at a sandbox, for tests of what we ask of gateways."""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from models.integration import Integration
from models.payout import Payout
from models.sealed import seal
from tests.factories import a_payout, an_integration
from tests.sandbox.stand import KEYS, Stand, a_sandbox

ROOTS: Final = {
    "mollie": "/mollie",
    "fedapay": "/fedapay/v1",
    "paycore": "/paycore/api",
    "zopay": "/zopay/connect/v1",
}
CREDENTIALS: Final = {
    "mollie": {"api_key": KEYS["mollie"]},
    "fedapay": {"secret_key": KEYS["fedapay"]},
    "paycore": {"account_id": "coma_1", "api_key": KEYS["paycore"]},
    "zopay": {"secret_key": KEYS["zopay"]},
}
CURRENCIES: Final = {"mollie": "EUR", "fedapay": "XOF", "paycore": "USD", "zopay": "USDT"}
DETAILS: Final = {
    "mollie": {"balanceId": "bal_1"},
    "fedapay": {"customer": {"id": 5}, "mode": "mtn"},
    "paycore": {"service": "payment_card_usd", "fields": {}},
    "zopay": {"external_ref": "user-7", "destination": "TXinvented"},
}


@contextlib.contextmanager
def a_quiet_sandbox() -> Iterator[Stand]:
    """Run a sandbox that knows our keys and sends no webhooks, so that only questions are answered."""
    with a_sandbox() as stand:
        settle(stand)
        yield stand


def settle(stand: Stand) -> None:
    """Let the sandbox begin anew."""
    assert stand.control("POST", "/reset").status_code == 204
    for name, key in KEYS.items():
        wishes = {"api_key": key} | ({"account_id": "coma_1"} if name == "paycore" else {})
        assert stand.control("PUT", f"/gateways/{name}", wishes).status_code == 200
    stand.behave(speed=1000, fates={"delivered": 1})


def an_integration_at(stand: Stand, connector: str, **columns: Any) -> Integration:
    root = stand.url + ROOTS[connector]
    return an_integration(connector, base_url=root, credentials=CREDENTIALS[connector], **columns)


def an_unsent_payout(integration: Integration, description: str = "") -> Payout:
    name = integration.connector
    return a_payout(
        integration, reference=None, currency=CURRENCIES[name], details=seal(DETAILS[name]), description=description
    )


def submissions(stand: Stand, payout: Payout) -> int:
    """Return how often the gateway took this payout: the truth, whatever we believe."""
    return sum(one["submissions"] for one in stand.truth() if one["order_key"] == payout.order_key)
