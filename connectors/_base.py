"""The contract between Ratchet and a gateway: what a connector is given, what it answers, how it fails.

A connector translates and decides nothing: no database, no queue, no clock of its own. One file per gateway,
always in the same order: link to the documentation, `STATUSES`, signature, parse, calls. Everything a connector
learns leaves it as one of the small values below, so that the rest of the project never sees a gateway's words.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol

from models.lifecycle import PayoutStatus

# --- what arrives


@dataclass(slots=True)
class WebhookRequest:
    """One HTTP request at the gateways' door, before anything in it is believed. Not frozen, as `PayoutUpdate`."""

    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    """As ASGI gives them: names in lower case, repetitions kept."""
    body: bytes = field(repr=False)
    method: str = "POST"
    path: str = "/"
    """The original path with its query, for schemes that sign it."""

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of header `name` (lower case), in order of arrival."""
        return [value for key, value in self.headers if key == name]


class Reason(StrEnum):
    """Why a signature was refused. Stable words: they are counted, logged and answered."""

    MISSING_HEADER = "missing_header"
    MALFORMED_HEADER = "malformed_header"
    BAD_ENCODING = "bad_encoding"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE_MISMATCH = "signature_mismatch"
    TIMESTAMP_TOO_OLD = "timestamp_too_old"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    DIGEST_MISMATCH = "digest_mismatch"
    UNCOVERED_COMPONENT = "uncovered_component"
    FORBIDDEN_ALGORITHM = "forbidden_algorithm"
    UNTRUSTED_KEY_SOURCE = "untrusted_key_source"
    NO_SECRET_CONFIGURED = "no_secret_configured"  # noqa: S105 (a reason, not a secret)


class InvalidSignature(Exception):
    """The request is not proven to come from the gateway. The only error `Connector.verify` raises, for any bytes."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(slots=True)
class Verified:
    """The request came from the gateway. Not frozen, as `PayoutUpdate`."""

    signed_at: datetime | None = None
    """The time the signature covers, where the scheme has one."""


# --- what a gateway says


class UnreadableEvent(Exception):
    """A verified message that we cannot understand: no JSON, a field of the wrong type, an unknown status word.

    It is kept for a person and never guessed. The text names the field, never its value.
    """


COSTS: Final = ("fees", "commission", "amount_transferred", "amount_debited")
"""What a gateway may report beside the amount: what it takes, what the beneficiary gets, what we pay."""


@dataclass(slots=True, kw_only=True)
class PayoutUpdate:
    """What one message says about one payout, in our words.

    Nobody changes one. It is not frozen because that makes every field a call: four times as long for each message.
    """

    reference: str | None
    """The gateway's id of the payout."""
    order_key: str | None = None
    """Our own key, where the gateway echoes it."""
    status: PayoutStatus | None
    """None is a hint only: ask the gateway."""
    said: str
    """The gateway's own status word."""
    occurred_at: datetime | None = None
    """Their clock, aware, in UTC."""
    amount_minor: int | None = None
    currency: str | None = None
    processed_amount_minor: int | None = None
    """What really arrived, where it may be less than the amount."""
    costs: Mapping[str, int] = field(default_factory=dict)
    """What the gateway says it costs, by `COSTS`, in minor units of `currency`. It never decides anything."""
    failure_code: str | None = None
    failure_message: str | None = None
    estimated_delivery_at: datetime | None = None
    awaits_start: bool = False
    """The gateway has it and moves nothing until it is told to start: no proof that our whole submission arrived."""


# --- what we ask of a gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One payout to hand over."""

    order_key: str
    """Unique per integration; the gateway's idempotency key where it has one."""
    amount_minor: int
    currency: str
    description: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What this gateway needs beyond the amount: beneficiary, balance, mode. May be personal; never logged."""
    reference: str | None = None
    """The gateway's id, where an earlier submission created the payout there and nothing of it has moved since."""
    memento: "Memento" = field(default_factory=dict, repr=False)
    """What `prepare` returned; on record before `submit` is called."""


Memento = Mapping[str, str]
"""What a connector must still know after a crash to find out what became of a submission. Kept sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a partner tells of a direct payout beyond the amount, in our words. Personal; never logged."""

    mode: str
    """bank_transfer, mobile_money, or a word of the gateway's own."""
    first_name: str = field(repr=False)
    last_name: str = field(repr=False)
    email: str = field(repr=False)
    phone: str | None = field(default=None, repr=False)
    """E.164: `+22901660000`."""
    phone_national: str | None = field(default=None, repr=False)
    """The same without its country's code."""
    country: str | None = None
    """ISO 3166, two letters: of the telephone."""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What no field of ours names, in the gateway's own words. A connector takes from it what it knows to be harmless:
    whatever else stands there (which account pays, where callbacks go) is the operator's to say."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a direct payout goes, as the gateway wants it."""

    details: Mapping[str, Any] = field(repr=False)
    """For `Order.details`."""
    label: str | None = None
    """What of it may be shown: `•••• 0001`."""


class Unaddressable(Exception):
    """A wish lacks what this gateway needs. `field` is where in the wish it is missing; the text tells what it is."""

    def __init__(self, where: str, detail: str) -> None:
        super().__init__(detail)
        self.where = where


def masked(account: str) -> str:
    """Return what may be shown of an account, a card or a telephone: its last four characters."""
    return f"•••• {account[-4:]}" if len(account) >= SHOWN_FROM else "••••"


SHOWN_FROM: Final = 8
"""Characters. Of a shorter one the last four would be half of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The gateway has the payout."""

    update: PayoutUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The gateway has positively refused it; nothing will move."""

    code: str
    message: str


Submission = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class NotFound:
    """The gateway has no such payout."""


class OutcomeUnknown(Exception):
    """The request may have reached the gateway and the answer did not reach us. Never retried: asked about."""

    def __init__(self, detail: str, *, reference: str | None = None) -> None:
        super().__init__(detail)
        self.reference = reference
        """The gateway's id, where an earlier step of the same submission told it."""


class GatewayUnavailable(Exception):
    """Nothing was learnt and nothing was moved: connection refused, 429, 5xx on a read, an unreadable answer."""

    def __init__(self, detail: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


# --- how a connector reaches its gateway


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A gateway's answer, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)


class NotSent(Exception):
    """The request never left: refused, unresolvable, TLS failed. Safe to try again."""


class NoReply(Exception):
    """The request left and no whole answer came back. For a call that moves money the outcome is unknown."""


class Http(Protocol):
    """The one way out. Redirects are never followed; proxies of the environment are ignored."""

    async def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Send one request. Raises `NotSent` or `NoReply`; their texts never hold the URL."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """One configured account at the gateway: what an integration tells its connector."""

    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_url: str | None = None
    """None is the connector's own `BASE_URL`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Overrides of the connector's `OPTIONS`: everything about the gateway that is assumed, not documented."""


class Connector(ABC):
    """One gateway's translator, configured for one integration. Holds no state between calls."""

    name: ClassVar[str]
    DOCUMENTATION: ClassVar[str]
    """The gateway's own page on payout webhooks."""
    BASE_URL: ClassVar[str]
    CREDENTIALS: ClassVar[tuple[str, ...]]
    """Names of the credentials the calls need."""
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Assumptions an integration may override, with their defaults."""
    STATUSES: ClassVar[Mapping[str, PayoutStatus]]
    """The gateway's words in ours."""
    SUPPORTS_PAYOUTS: ClassVar[bool] = True
    SUPPORTS_CANCEL: ClassVar[bool] = False
    PREPARES: ClassVar[bool] = False
    """Whether `prepare` comes before `submit`: for a gateway whose payouts cannot be found by our key alone."""
    REQUIRES_WEBHOOK_SECRET: ClassVar[bool] = True
    REPEATS_ARE_NEWS: ClassVar[bool] = False
    """Whether a message that we had already may be news: it names a payout and not what has happened to it.

    Only for messages that are hints, every one of them: replayed, such a message makes us ask once a minute, and asking
    moves nothing. For any other the event key is what makes a replay harmless.
    """
    CURRENCIES: ClassVar[frozenset[str] | None] = None
    """None: whatever the gateway accepts."""
    VISIBILITY_WINDOW: ClassVar[timedelta] = timedelta(minutes=30)
    """How long an accepted payout may stay invisible to `fetch`. Only after it does absence mean not received."""
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(hours=24),
            PayoutStatus.SCHEDULED: timedelta(days=4),
            PayoutStatus.INITIATED: timedelta(hours=24),
            PayoutStatus.BROADCAST: timedelta(days=2),
        }
    )
    """How long a payout normally stays in each status in flight; beyond it, it is stuck. Option `silence_hours`."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.base_url: Final = (account.base_url or self.BASE_URL).rstrip("/")

    @classmethod
    def options(cls) -> Mapping[str, Any]:
        """Return every assumption that an integration may override, with its default."""
        hours = {status: span / timedelta(hours=1) for status, span in {**Connector.SILENCE, **cls.SILENCE}.items()}
        window = {"visibility_minutes": cls.VISIBILITY_WINDOW // timedelta(minutes=1)} if cls.SUPPORTS_PAYOUTS else {}
        return {**cls.OPTIONS, **window, "silence_hours": hours}

    @property
    def visibility_window(self) -> timedelta:
        """How long a payout may stay invisible at this account: the option `visibility_minutes`."""
        return timedelta(minutes=self.account.options.get("visibility_minutes", 0)) or self.VISIBILITY_WINDOW

    def option(self, name: str) -> Any:
        """Return the integration's value for an assumption, or the connector's default."""
        return self.account.options.get(name, self.OPTIONS[name])

    @abstractmethod
    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """Prove that the gateway sent exactly these bytes, with any of the live `secrets`.

        Works on the raw body, compares in constant time, and raises `InvalidSignature` and nothing
        else for any bytes whatever. `secrets` without a non-empty entry is `no_secret_configured`.
        """

    @abstractmethod
    def event_key(self, request: WebhookRequest) -> str:
        """Return what makes this message the same message when it is sent again.

        The gateway's event id, or a digest of (object, status, updated) where it has none; never the signature's
        text, which can be written in several ways. A body without one gives a digest of the body. Never raises.
        """

    @abstractmethod
    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Return what a verified body says about payouts; empty when it is about something else.

        Needs no network. Raises `UnreadableEvent`.
        """

    async def prepare(self, order: Order, http: Http) -> Memento | Rejected:
        """Do what has to come before the call that pays, and moves nothing. Raises `GatewayUnavailable`.

        What it returns is committed together with `sending`, so that it outlives any crash of the call that pays.
        Called only where `PREPARES`; a crash in here leaves the payout unsent, and it is called anew.
        """
        del order, http
        return {}

    def address(self, wish: Wish) -> Address:
        """Return where a direct payout goes, in this gateway's words. Raises `Unaddressable`.

        Only for connectors that create payouts. It takes over by name what it knows, and nothing else.
        """
        raise Unaddressable("gateway", f"{self.name} takes no direct payout ({wish.mode})")

    async def submit(self, order: Order, http: Http) -> Submission:
        """Hand the payout over. Raises `OutcomeUnknown`, or `GatewayUnavailable` when it certainly never arrived.

        A connector that only listens (`SUPPORTS_PAYOUTS` false) does not write it; then it is positively refused.
        """
        del order, http
        return Rejected(code="payouts_unsupported", message=f"{self.name} cannot create payouts")

    @abstractmethod
    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """Ask about one payout, by the gateway's reference or else by our key. Raises `GatewayUnavailable`."""

    async def recover(self, order_key: str, memento: Memento, now: datetime, http: Http) -> PayoutUpdate | NotFound:
        """Find out, by what was prepared, about a payout whose reference never reached us. Raises as `fetch` does.

        It must not be able to pay. Called only where `PREPARES`.
        """
        del memento, now
        return await self.fetch(None, order_key, http)

    async def list_since(self, since: datetime, http: Http) -> AsyncIterator[PayoutUpdate]:
        """Walk the gateway's payouts changed or created since then, newest first, all pages.

        A connector that only listens does not write it; then there is nothing to walk.
        """
        del since, http
        nothing: tuple[PayoutUpdate, ...] = ()
        for update in nothing:
            yield update

    async def cancel(self, reference: str, http: Http) -> PayoutUpdate | Rejected:
        """Call the payout off before the gateway executes it. Raises as `submit` does.

        Only where `SUPPORTS_CANCEL`; elsewhere it is positively refused.
        """
        del reference, http
        return Rejected(code="cancel_unsupported", message=f"{self.name} cannot cancel a payout")
