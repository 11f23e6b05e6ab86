"""How the sandbox behaves: how fast, and how badly. One value, replaced whole, so that a reader never sees half of it.

Out of the box it is well behaved; every bad habit has to be asked for.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sandbox.stories import DEFAULT_WEIGHTS, FATES

MAX_SPEED: Final = 1_000_000
MAX_SPAN_SECONDS: Final = 3600


class BadBehaviour(ValueError):
    """The behaviour asked for does not exist. The text names the key and what would be right."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Every setting. Probabilities are between 0 and 1; times are in seconds."""

    speed: float = 1.0
    """Stories and retries run this many times faster."""
    retry_speed: float = 10.0
    """Retries run this many times faster again than the gateway's real schedule, whose unit is minutes."""
    fates: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    """Relative weights. A fate that is not named has none."""
    magic_amounts: bool = False
    """The last digits of an amount decide its fate (`sandbox/magic.py`), and chance decides nothing."""

    drop: float = 0.0
    """A webhook is never sent."""
    repeat: float = 0.0
    """An accepted webhook is sent one to three times more."""
    shuffle: float = 0.0
    """A webhook is held back so that later ones overtake it."""
    delay_seconds: tuple[float, float] = (0.0, 0.0)
    """Every webhook waits this long, at any speed."""
    forge: float = 0.0
    """A stranger sends a false status, signed with a wrong secret, beside a genuine webhook."""

    timeout_after_accept: float = 0.0
    """A create, start or cancellation is carried out, and then the connection is closed without an answer."""
    refuse: float = 0.0
    """An API call is answered 503 and nothing is carried out."""
    slow: float = 0.0
    """An API call is answered late."""
    slow_seconds: tuple[float, float] = (1.0, 3.0)

    mollie_one_payout_per_day: bool = False
    """A balance with a requested payout refuses another."""
    mollie_simple_payload: float = 0.0
    """A webhook carries no entity: the receiver has to ask."""
    fedapay_bodies: str = "alternate"
    """API answers wrapped in a versioned key, bare, or in turns."""
    bridgerpay_soft_errors: float = 0.0
    """A refusal is wrapped in HTTP 200, and only the code inside tells."""
    bridgerpay_deposits: float = 0.0
    """News of a deposit, which has the same types, comes beside news of a payout."""
    bridgerpay_shown_after_seconds: tuple[float, float] = (0.0, 0.0)
    """How long a new payout is missing from the list, at any speed."""
    bridgerpay_token_seconds: float = 3600.0
    """How long a login is good for."""

    def changed_by(self, wishes: object) -> "Behaviour":
        """Return this behaviour with some settings replaced. Raises `BadBehaviour`."""
        if not isinstance(wishes, dict):
            raise BadBehaviour("behaviour must be a JSON object")
        if unknown := sorted(set(wishes) - set(_RULES)):
            raise BadBehaviour(f"unknown key {unknown[0]!r}; there are: {', '.join(sorted(_RULES))}")
        return replace(self, **{key: _checked(key, value) for key, value in wishes.items()})

    def shown(self) -> dict[str, Any]:
        """Return every setting, ready for JSON."""
        return {key: getattr(self, key) for key in _RULES}


def _checked(key: str, value: object) -> Any:
    try:
        return _RULES[key](value)
    except ValueError as error:
        raise BadBehaviour(f"{key} {error}") from None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a number")
    return float(value)


def _chance(value: object) -> float:
    if not 0 <= (number := _number(value)) <= 1:
        raise ValueError("must be between 0 and 1")
    return number


def _speed(value: object) -> float:
    if not 0 < (number := _number(value)) <= MAX_SPEED:
        raise ValueError(f"must be above 0 and at most {MAX_SPEED}")
    return number


def _span(value: object) -> tuple[float, float]:
    match value:
        case [first, last] if 0 <= (shortest := _number(first)) <= (longest := _number(last)) <= MAX_SPAN_SECONDS:
            return shortest, longest
    raise ValueError(f"must be [shortest, longest] in seconds, from 0 to {MAX_SPAN_SECONDS}")


def _weights(value: object) -> dict[str, float]:
    if not isinstance(value, dict) or (unknown := sorted(set(value) - set(FATES))):
        wrong = "" if not isinstance(value, dict) else f"has an unknown fate {unknown[0]!r}; "
        raise ValueError(f"{wrong}must weigh some of: {', '.join(FATES)}")
    weights = {fate: _number(weight) for fate, weight in value.items()}
    if any(weight < 0 for weight in weights.values()) or not sum(weights.values()):
        raise ValueError("must be weights of 0 or more, not all 0")
    return weights


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - a caller's mistake, told like the others
    return value


def _bodies(value: object) -> str:
    if value not in {"alternate", "wrapped", "bare"}:
        raise ValueError("must be alternate, wrapped or bare")
    return str(value)


_RULES: Final[Mapping[str, Callable[[object], Any]]] = {
    "speed": _speed,
    "retry_speed": _speed,
    "fates": _weights,
    "magic_amounts": _flag,
    "drop": _chance,
    "repeat": _chance,
    "shuffle": _chance,
    "delay_seconds": _span,
    "forge": _chance,
    "timeout_after_accept": _chance,
    "refuse": _chance,
    "slow": _chance,
    "slow_seconds": _span,
    "mollie_one_payout_per_day": _flag,
    "mollie_simple_payload": _chance,
    "fedapay_bodies": _bodies,
    "bridgerpay_soft_errors": _chance,
    "bridgerpay_deposits": _chance,
    "bridgerpay_shown_after_seconds": _span,
    "bridgerpay_token_seconds": _number,
}
