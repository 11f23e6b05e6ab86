"""Magic amounts: the last two digits decide, where somebody has asked for it."""

from decimal import Decimal

import pytest

from sandbox.magic import MAGIC, spell
from tests.sandbox.stand import Stand, wait_until


@pytest.mark.parametrize(
    ("amount", "currency", "fate"),
    [
        ("100.01", "EUR", "failed"),
        ("100.1", "EUR", "delivered"),
        ("1", "EUR", "delivered"),
        ("2502", "XOF", "returned"),
        ("12.000003", "USDT", "silent"),
        ("100.04", "USD", "canceled"),
        ("100.05", "USD", "stuck"),
        ("100.06", "USD", "lost"),
        ("107", "JPY", "refused"),
        ("100.08", "USD", "delivered"),
    ],
)
def test_an_amount_asks_by_its_last_two_digits(amount: str, currency: str, fate: str) -> None:
    assert spell(Decimal(amount), currency) == fate


def test_without_magic_an_amount_is_only_an_amount(stand: Stand) -> None:
    stand.behave(speed=1000, fates={"delivered": 1})

    answers = [stand.create("mollie", f"key-{number}", amount=_euros(number)) for number in MAGIC]
    wait_until(lambda: all(payout["is_over"] for payout in stand.truth()))

    assert {answer.status_code for answer in answers} == {201}
    assert {payout["fate_status"] for payout in stand.truth()} == {"delivered"}


def test_with_magic_chance_decides_nothing(stand: Stand) -> None:
    stand.behave(speed=1000, fates={"failed": 1}, magic_amounts=True)

    stand.create("mollie", "plain", amount=_euros(0))
    stand.create("mollie", "returned", amount=_euros(2))
    wait_until(lambda: all(payout["is_over"] for payout in stand.truth()))

    assert {payout["order_key"]: payout["fate_status"] for payout in stand.truth()} == {
        "plain": "delivered",
        "returned": "returned",
    }


def _euros(number: int) -> dict[str, str]:
    return {"currency": "EUR", "value": f"100.0{number}"}
