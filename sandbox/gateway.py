"""What the gateways share: the order of their guards, and how a story becomes webhooks.

Each gateway brings its tables, its bodies and its signature; the misbehaviour that any API may show is here.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import ClassVar, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from sandbox.answers import HangUp, Refused
from sandbox.magic import plan_of, spell
from sandbox.sender import Sender
from sandbox.stories import Step, draw, plan_for, steps_of
from sandbox.world import Account, Moment, Payout, World

Endpoint = Callable[[Request], Awaitable[Response]]


class Gateway(ABC):
    """One gateway's stand-in."""

    name: ClassVar[str]
    MEANINGS: ClassVar[Mapping[str, str]]
    """The gateway's words in those of an observer."""
    STORIES: ClassVar[Mapping[str, Sequence[str]]]
    """For each fate the statuses after acceptance; a reason follows a colon."""
    WAITS: ClassVar[Sequence[int]]
    """The real schedule: seconds between one try of a webhook and the next. One more try than waits."""

    def __init__(self, world: World, sender: Sender) -> None:
        self.world: Final = world
        self.sender: Final = sender

    @abstractmethod
    def routes(self) -> list[BaseRoute]:
        """Return the API below the base URL."""

    @abstractmethod
    def is_known(self, request: Request) -> bool:
        """Tell whether the caller holds this account's key."""

    @abstractmethod
    def problem(self, refused: Refused) -> Response:
        """Write an error as this gateway does."""

    @abstractmethod
    def sign(self, secret: str, body: bytes, signed_at: int) -> dict[str, str]:
        """Return the headers that prove a webhook."""

    @abstractmethod
    def webhooks(self, payout: Payout) -> list[bytes]:
        """Return the bodies that announce the payout's present status."""

    @abstractmethod
    def forgery(self, payout: Payout) -> bytes:
        """Return a body that claims a status which is not true."""

    def is_accepted(self, status: int) -> bool:
        """Tell whether a receiver's answer ends the tries."""
        return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES

    def headers(self, attempt: int, next_at: int | None) -> dict[str, str]:
        """Return further headers of one try; `next_at` is when the next would be."""
        del attempt, next_at
        return {}

    def webhook_url(self, payout: Payout) -> str:
        """Return where this payout's webhooks go; empty means nowhere."""
        del payout
        return self.account.webhook_url

    @property
    def account(self) -> Account:
        """Return the account as it is configured now."""
        return self.world.accounts[self.name]

    def payout(self, reference: str, detail: str) -> Payout:
        """Return one payout. Raises `Refused` with 404."""
        found = self.world.payouts[self.name].get(reference)
        if found is None:
            raise Refused(404, detail)
        return found

    def endpoint(self, operation: str, work: Endpoint) -> Endpoint:
        """Put the guards before an operation: the key first, then whatever misbehaviour was asked for."""

        async def guarded(request: Request) -> Response:
            self.world.api_calls[self.name][operation] += 1
            try:
                self._admit(request)
                answer = await work(request)
            except Refused as refused:
                answer = self.problem(refused)
            await self._linger()
            return answer

        return guarded

    def _admit(self, request: Request) -> None:
        if not self.account.api_key or not self.is_known(request):
            raise Refused(401, "Missing authentication, or failed to authenticate")
        if self.world.chance.random() < self.world.behaviour.refuse:
            self.world.misbehaved["refused"] += 1
            raise Refused(503, "The service is temporarily unavailable")

    async def _linger(self) -> None:
        if self.world.chance.random() < self.world.behaviour.slow:
            self.world.misbehaved["slow"] += 1
            seconds = self.world.chance.uniform(*self.world.behaviour.slow_seconds)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.world.is_closing.wait(), seconds)

    def answer_or_hang_up(self, operation: str, payout: Payout, answer: Response) -> Response:
        """Answer a call that was carried out, unless its answer is to get lost."""
        rng = draw(self.world.seed, operation, self.name, payout.order_key)
        is_lost = self._spell(payout) == "lost"
        if not is_lost and rng.random() >= self.world.behaviour.timeout_after_accept:
            return answer
        self.world.misbehaved["timed_out_after_accept"] += 1
        return HangUp()

    def admit(self, payout: Payout, native: str) -> None:
        """Take a new payout in and decide its fate. Raises `Refused` where its amount asks for that."""
        rng = draw(self.world.seed, "fate", self.name, payout.order_key)
        if (spelled := self._spell(payout)) == "refused":
            raise Refused(422, "This amount is refused by magic", "amount")
        drawn = plan_for(rng, self.world.behaviour.fates, payout.description)
        payout.plan = plan_of(spelled) if spelled else drawn
        payout.history.append(Moment(native, self.MEANINGS[native], self.world.now()))
        self.world.admit(payout)

    def _spell(self, payout: Payout) -> str:
        """Return what the payout's amount asks for; empty where amounts are only amounts."""
        return spell(payout.amount, payout.currency) if self.world.behaviour.magic_amounts else ""

    def begin(self, payout: Payout, *before: str) -> None:
        """Let the payout's story unfold by itself, after the statuses in `before`."""
        fate = payout.plan.fate if payout.plan.fate in self.STORIES else "delivered"
        rng = draw(self.world.seed, "timing", self.name, payout.order_key)
        payout.is_over = False
        self.world.stories_open += 1
        self.world.spawn(self._tell(payout, steps_of((*before, *self.STORIES[fate]), rng)))

    async def _tell(self, payout: Payout, story: list[Step]) -> None:
        for step in story:
            await asyncio.sleep(step.after_seconds / self.world.behaviour.speed)
            if payout.is_over:
                return
            self.move(payout, step.native, step.reason)
        self.end(payout)

    def end(self, payout: Payout) -> None:
        """Close the story; what it still had in mind does not happen."""
        if not payout.is_over:
            payout.is_over = True
            self.world.stories_open -= 1

    def move(self, payout: Payout, native: str, reason: str = "") -> None:
        """Give the payout its next status and tell the world."""
        payout.reason = reason
        payout.history.append(Moment(native, self.MEANINGS[native], self.world.now()))
        self.announce(payout)

    def announce(self, payout: Payout) -> None:
        """Send the webhooks of the present status, where the payout sends any."""
        for body in self.webhooks(payout):
            payout.latest_webhook = body
            if payout.plan.sends_webhooks and self.webhook_url(payout):
                self.sender.post(self, payout, body)
