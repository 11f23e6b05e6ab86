"""Fates: drawn by seed and order key, steered by words, concluded as a person would."""

from collections import Counter
from decimal import Decimal
from itertools import permutations

import pytest

from sandbox.bridgerpay import BridgerPay
from sandbox.fedapay import FedaPay
from sandbox.gateway import Gateway
from sandbox.mollie import Mollie
from sandbox.paycore import PayCore
from sandbox.sender import Sender
from sandbox.stories import DEFAULT_WEIGHTS, conclude, draw, plan_for, without_steering
from sandbox.world import Payout, World
from sandbox.zopay import ZoPay

GATEWAYS: tuple[type[Gateway], ...] = (Mollie, FedaPay, PayCore, ZoPay, BridgerPay)
ACCEPTED_AS = {
    "mollie": "requested",
    "fedapay": "pending",
    "paycore": "created",
    "zopay": "pending",
    "bridgerpay": "pending",
}
ORDER_KEYS = [f"pay_{n}:1" for n in range(200)]


def a_gateway(kind: type[Gateway], seed: int = 7) -> Gateway:
    world = World(seed)
    return kind(world, Sender(world))


def fates(gateway: Gateway, order_keys: list[str]) -> dict[str, object]:
    for key in order_keys:
        gateway.admit(Payout(gateway.name, f"ref_{key}", key, Decimal(1), "EUR", ""), ACCEPTED_AS[gateway.name])
    return {payout.order_key: payout.plan for payout in gateway.world.payouts[gateway.name].values()}


@pytest.mark.parametrize("kind", GATEWAYS)
def test_the_same_seed_gives_the_same_fates_in_any_order_of_arrival(kind: type[Gateway]) -> None:
    first = fates(a_gateway(kind), ORDER_KEYS)
    second = fates(a_gateway(kind), ORDER_KEYS[::-1])

    assert first == second


def test_another_seed_and_another_gateway_give_other_fates() -> None:
    mollie = fates(a_gateway(Mollie), ORDER_KEYS)

    assert mollie != fates(a_gateway(Mollie, seed=8), ORDER_KEYS)
    assert mollie != fates(a_gateway(PayCore), ORDER_KEYS)


def test_fates_come_about_as_often_as_they_weigh() -> None:
    plans = [plan_for(draw(7, n), DEFAULT_WEIGHTS, "") for n in range(4000)]
    shares = Counter(plan.fate if plan.sends_webhooks else "silent" for plan in plans)

    assert all(shares[fate] / 4000 == pytest.approx(weight, abs=0.02) for fate, weight in DEFAULT_WEIGHTS.items())


@pytest.mark.parametrize("fate", ["delivered", "failed", "returned", "canceled", "stuck"])
def test_words_in_the_description_force_a_fate(fate: str) -> None:
    plan = plan_for(draw(7), DEFAULT_WEIGHTS, f"May run #fate={fate} #webhooks=none")

    assert (plan.fate, plan.sends_webhooks) == (fate, False)


def test_a_fate_that_does_not_exist_is_only_text() -> None:
    assert plan_for(draw(7), DEFAULT_WEIGHTS, "#fate=lottery") == plan_for(draw(7), DEFAULT_WEIGHTS, "")
    assert without_steering("May #fate=failed run #webhooks=none") == "May run"


@pytest.mark.parametrize("kind", GATEWAYS)
def test_every_story_ends_as_its_fate_says(kind: type[Gateway]) -> None:
    for fate, statuses in kind.STORIES.items():
        meanings = ["pending", *(kind.MEANINGS[status.partition(":")[0]] for status in statuses)]

        assert conclude(meanings) == fate or fate == "stuck"


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        (("pending",), "pending"),
        (("pending", "canceled"), "canceled"),
        (("scheduled", "canceled"), "canceled"),
        (("initiated", "canceled"), "failed"),
        (("initiated", "broadcast", "delivered"), "delivered"),
        (("broadcast", "failed"), "failed"),
        (("broadcast", "delivered", "canceled"), "returned"),
        (("broadcast", "delivered", "failed"), "returned"),
    ],
)
def test_the_conclusion_does_not_depend_on_the_order(said: tuple[str, ...], believed: str) -> None:
    assert {conclude(order) for order in permutations(said)} == {believed}
