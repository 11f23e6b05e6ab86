"""The webhook queue: every genuine webhook is tried until it is accepted or its gateway's schedule has run out.

This is where the bad habits live: dropping, repeating, shuffling, delaying, and the stranger who forges.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from sandbox.stories import draw
from sandbox.world import Payout, World

if TYPE_CHECKING:
    from sandbox.gateway import Gateway

MAX_IN_FLIGHT: Final = 64
TIMEOUT_SECONDS: Final = 15
OVERTAKEN_AFTER_SECONDS: Final = (1.2, 3.0)
"""How long a shuffled webhook is held back at speed 1: longer than the longest step of a story."""
REPEATED_AFTER_SECONDS: Final = (0.05, 0.5)
"""How long after its acceptance a webhook is repeated, at speed 1."""
FORGED_SECRET: Final = "a-stranger-who-does-not-know-the-secret"  # noqa: S105 - wrong on purpose


@dataclass(frozen=True, slots=True)
class Letter:
    """One webhook and all that chance has decided about it."""

    gateway: "Gateway"
    payout: Payout
    body: bytes
    held_seconds: float = 0.0
    repeat_after_seconds: tuple[float, ...] = ()


class Sender:
    """Sends webhooks over one pool of connections. Needs `open()` on the running loop before the first."""

    def __init__(self, world: World) -> None:
        self.world: Final = world

    async def open(self) -> None:
        """Get ready to send."""
        self._in_flight = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        )

    async def close(self) -> None:
        """Stop sending; what was still to be sent is lost."""
        self.world.reset()
        await self._session.close()

    def post(self, gateway: "Gateway", payout: Payout, body: bytes) -> None:
        """Queue one genuine webhook, with whatever misbehaviour falls to it."""
        rng = draw(self.world.seed, "webhook", gateway.name, payout.order_key, payout.webhooks_made)
        payout.webhooks_made += 1
        self.world.webhooks["made"] += 1
        behaviour = self.world.behaviour
        is_forged, is_dropped, is_shuffled, is_repeated = (
            rng.random() < chance for chance in (behaviour.forge, behaviour.drop, behaviour.shuffle, behaviour.repeat)
        )
        held = rng.uniform(*behaviour.delay_seconds)
        if is_forged:
            self.world.spawn(self._forge(Letter(gateway, payout, gateway.forgery(payout), held)))
        if is_dropped:
            self.world.webhooks["dropped"] += 1
            return
        if is_shuffled:
            held += rng.uniform(*OVERTAKEN_AFTER_SECONDS) / behaviour.speed
        count = rng.randint(1, 3) if is_repeated else 0
        repeats = tuple(rng.uniform(*REPEATED_AFTER_SECONDS) for _ in range(count))
        self.world.webhooks["pending"] += 1
        self.world.spawn(self._carry(Letter(gateway, payout, body, held, repeats)))

    def resend(self, gateway: "Gateway", payout: Payout) -> None:
        """Queue the payout's latest webhook once more, as an operator at the gateway would."""
        self.world.spawn(self._repeat(Letter(gateway, payout, payout.latest_webhook, 0.0, (0.0,))))

    async def _carry(self, letter: Letter) -> None:
        await asyncio.sleep(letter.held_seconds)
        is_delivered = await self._deliver(letter)
        self.world.webhooks["pending"] -= 1
        self.world.webhooks["delivered" if is_delivered else "given_up"] += 1
        if is_delivered:
            await self._repeat(letter)

    async def _deliver(self, letter: Letter) -> bool:
        for attempt, wait in enumerate((*letter.gateway.WAITS, None)):
            seconds = None if wait is None else wait / self.world.behaviour.retry_speed / self.world.behaviour.speed
            if await self._send_genuine(letter, attempt, seconds):
                return True
            if seconds is not None:
                await asyncio.sleep(seconds)
        return False

    async def _repeat(self, letter: Letter) -> None:
        for seconds in letter.repeat_after_seconds:
            await asyncio.sleep(seconds / self.world.behaviour.speed)
            self.world.webhooks["repeated"] += 1
            await self._send_genuine(letter, 0, None)

    async def _forge(self, letter: Letter) -> None:
        await asyncio.sleep(letter.held_seconds)
        status = await self._send(letter, FORGED_SECRET, {}, "forged_sent")
        if status is not None:
            word = "forged_accepted" if letter.gateway.is_accepted(status) else "forged_refused"
            self.world.webhooks[word] += 1

    async def _send_genuine(self, letter: Letter, attempt: int, wait_seconds: float | None) -> bool:
        gateway = letter.gateway
        next_at = None if wait_seconds is None else int(self.world.now() + wait_seconds)
        status = await self._send(letter, gateway.account.webhook_secret, gateway.headers(attempt, next_at), "sent")
        if status is None:
            self.world.webhooks["failed_tries"] += 1
            return False
        if gateway.is_accepted(status):
            self.world.webhooks["accepted"] += 1
            return True
        self.world.webhooks_refused[str(status)] += 1
        return False

    async def _send(self, letter: Letter, secret: str, headers: dict[str, str], counted_as: str) -> int | None:
        """Send one request and return the answer's status; None when there was no answer."""
        url = letter.gateway.webhook_url(letter.payout)
        async with self._in_flight:
            self.world.webhooks[counted_as] += 1
            signature = letter.gateway.sign(secret, letter.body, int(self.world.now()))
            headers = {"Content-Type": "application/json", **headers, **signature}
            try:
                async with self._session.post(url, data=letter.body, headers=headers, allow_redirects=False) as answer:
                    await answer.content.read(65_536)  # no more than keeps the connection usable
                    return answer.status
            except (aiohttp.ClientError, TimeoutError, ValueError):
                return None
