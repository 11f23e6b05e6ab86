"""All that the sandbox knows, in memory and bounded: accounts, payouts, counts, and what is still to happen.

Everything runs on one event loop, so that a change between two awaits needs no lock.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any, Final

from sandbox.behaviour import Behaviour
from sandbox.stories import Plan, conclude, draw

MAX_PAYOUTS: Final = 50_000
"""Per gateway. Beyond it the oldest is forgotten."""

_log: Final = logging.getLogger("sandbox")


def iso(at: float) -> str:
    """Return a time as text, in UTC with its offset."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


@dataclass(slots=True)
class Account:
    """One account at one gateway, as the caller configured it. Without an API key nobody gets in."""

    webhook_url: str = ""
    webhook_secret: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    account_id: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Moment:
    """A status that a payout reached."""

    native: str
    meaning: str
    at: float


@dataclass(slots=True)
class Payout:
    """One payout as its gateway sees it."""

    gateway: str
    reference: str
    order_key: str
    amount: Decimal
    currency: str
    description: str
    extra: dict[str, Any] = field(default_factory=dict)
    """What only this gateway keeps."""
    plan: Plan = field(default_factory=lambda: Plan("delivered", sends_webhooks=True))
    reason: str = ""
    history: list[Moment] = field(default_factory=list)
    is_over: bool = True
    """Nothing more will happen by itself. A stuck payout is over too."""
    is_foreign: bool = False
    """Somebody else made it, in the dashboard or by a timetable; it only shows up in lists."""
    latest_webhook: bytes = b""
    webhooks_made: int = 0

    @property
    def native(self) -> str:
        """Return the status in the gateway's own word."""
        return self.history[-1].native

    def first_at(self, native: str) -> float | None:
        """Return when the payout first had this status."""
        return next((moment.at for moment in self.history if moment.native == native), None)

    def iso_at(self, native: str) -> str | None:
        """Return the same as text."""
        at = self.first_at(native)
        return None if at is None else iso(at)

    def truth(self, submissions: int) -> dict[str, Any]:
        """Return what really happened, for whoever wants to prove an observer wrong."""
        return {
            "gateway": self.gateway,
            "reference": self.reference,
            "order_key": self.order_key,
            "native_status": self.native,
            "fate_status": conclude(moment.meaning for moment in self.history),
            "amount": f"{self.amount:f}",
            "currency": self.currency,
            "submissions": submissions,
            "history": [{"native": moment.native, "at": iso(moment.at)} for moment in self.history],
            "is_over": self.is_over,
        }


class World:
    """The state of one sandbox."""

    def __init__(self, seed: int, clock: Callable[[], float] = time.time) -> None:
        self.seed: Final = seed
        self.now: Final = clock
        self.is_closing: Final = asyncio.Event()
        """Set when the process is about to end."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.reset()

    def reset(self) -> None:
        """Begin again as if just started; what was still to happen does not happen."""
        for task in self.tasks:
            task.cancel()
        self.tasks = set()
        self.behaviour = Behaviour()
        self.accounts: defaultdict[str, Account] = defaultdict(Account)
        self.payouts: defaultdict[str, dict[str, Payout]] = defaultdict(dict)
        self.by_order_key: dict[tuple[str, str], Payout] = {}
        self.submissions: Counter[tuple[str, str]] = Counter()
        self.api_calls: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.misbehaved: Counter[str] = Counter()
        self.webhooks: Counter[str] = Counter()
        self.webhooks_refused: Counter[str] = Counter()
        self.stories_open = 0
        self.replays: dict[str, tuple[float, dict[str, Any]]] = {}
        """Mollie's answers by Idempotency-Key, and when they were given."""
        self.numbers = count(int(self.now() * 1000))
        """FedaPay's ids. They begin at the clock, so that a restarted sandbox never gives a number twice."""
        self.kept: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        """What else a gateway keeps, under names of its own: tokens, quotes, answers to repeat."""
        self.chance = draw(self.seed, "api calls")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something happen later, until the next reset."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._forget_task)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("sandbox.task_failed", exc_info=error)

    def keep(self, kind: str, key: str, value: Any) -> None:
        """Keep something of this kind; beyond `MAX_PAYOUTS` the oldest is forgotten."""
        shelf = self.kept[kind]
        if len(shelf) >= MAX_PAYOUTS:
            del shelf[next(iter(shelf))]
        shelf[key] = value

    def admit(self, payout: Payout) -> None:
        """Keep a new payout; one that its caller made counts as a submission of its order key."""
        shelf = self.payouts[payout.gateway]
        if len(shelf) >= MAX_PAYOUTS:
            self._forget_payout(shelf.pop(next(iter(shelf))))
        shelf[payout.reference] = payout
        if not payout.is_foreign:
            key = (payout.gateway, payout.order_key)
            self.by_order_key[key] = payout
            self.submissions[key] += 1

    def _forget_payout(self, payout: Payout) -> None:
        key = (payout.gateway, payout.order_key)
        if self.by_order_key.get(key) is payout:
            del self.by_order_key[key], self.submissions[key]

    def truth(self) -> list[dict[str, Any]]:
        """Return every payout that a caller made, oldest first within its gateway."""
        return [
            payout.truth(self.submissions[payout.gateway, payout.order_key])
            for shelf in self.payouts.values()
            for payout in shelf.values()
            if not payout.is_foreign
        ]
