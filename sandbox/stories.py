"""What becomes of a payout: its fate, the statuses it walks through, and when.

Everything random is drawn from (seed, what it is for, gateway, order key), never from the order of arrival:
the same seed and the same orders tell the same stories, however the requests interleave.
"""

import hashlib
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

FATES: Final = ("delivered", "failed", "returned", "canceled", "silent", "stuck")
"""How a payout can end. `silent` is delivered without one webhook; `stuck` stops in mid-flight for ever."""

DEFAULT_WEIGHTS: Final[Mapping[str, float]] = {
    "delivered": 0.78,
    "failed": 0.1,
    "returned": 0.06,
    "canceled": 0.02,
    "silent": 0.04,
    "stuck": 0.0,
}

STEP_SECONDS: Final = (0.2, 1.0)
"""The shortest and the longest time between two statuses at speed 1. The real gateways take hours to days."""

_STEERING: Final = re.compile(r"#(fate|webhooks)=([a-z]+)")
_FORWARD: Final = ("pending", "scheduled", "initiated", "broadcast", "delivered")


@dataclass(frozen=True, slots=True)
class Plan:
    """What will become of one payout."""

    fate: str
    sends_webhooks: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One change of status to come."""

    native: str
    reason: str
    after_seconds: float
    """Since the step before, at speed 1."""


def draw(seed: int, *names: object) -> random.Random:
    """Return the one source of chance that belongs to these names."""
    text = "\x1f".join(str(name) for name in (seed, *names))
    return random.Random(hashlib.sha256(text.encode()).digest())


def plan_for(rng: random.Random, weights: Mapping[str, float], description: str) -> Plan:
    """Draw a fate, unless the description asks for one: `#fate=returned`, `#webhooks=none`."""
    drawn = rng.choices(FATES, [weights.get(fate, 0.0) for fate in FATES])[0]
    asked = dict(_STEERING.findall(description))
    fate = asked["fate"] if asked.get("fate") in FATES else drawn
    is_silent = fate == "silent" or asked.get("webhooks") == "none"
    return Plan("delivered" if fate == "silent" else fate, sends_webhooks=not is_silent)


def without_steering(description: str) -> str:
    """Return the description as a person would have written it."""
    return " ".join(_STEERING.sub(" ", description).split())


def steps_of(statuses: Iterable[str], rng: random.Random) -> list[Step]:
    """Time the statuses of one story. Each is a native word, with its reason after a colon where there is one."""
    return [
        Step(native, reason, rng.uniform(*STEP_SECONDS))
        for native, _, reason in (status.partition(":") for status in statuses)
    ]


def conclude(meanings: Iterable[str]) -> str:
    """Return what an honest observer of all these meanings, in any order, must believe.

    Written as a person would say it, and on purpose not as Ratchet computes it.
    """
    seen = set(meanings)
    is_undone = bool(seen & {"failed", "canceled"})
    if "delivered" in seen and is_undone:
        return "returned"
    if "failed" in seen or ("canceled" in seen and seen & {"initiated", "broadcast"}):
        return "failed"
    return "canceled" if is_undone else max(seen, key=_FORWARD.index)
