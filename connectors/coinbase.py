"""Coinbase Developer Platform: transfers from custodial accounts, and disbursements. Listens only.

https://docs.cdp.coinbase.com/webhooks/transfers/overview and
https://docs.cdp.coinbase.com/webhooks/payment-acceptance/overview

Amounts are decimal text of an asset, `usdc` as well as `usd`. Delivery and signature are Hook0's.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

from connectors._base import (
    Connector,
    Http,
    InvalidSignature,
    NotFound,
    PayoutUpdate,
    Reason,
    UnreadableEvent,
    Verified,
    WebhookRequest,
)
from connectors._calls import credential, fetch_one
from connectors._cdp_token import bearer
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._listening import currency_of, metadata_key, path_id
from connectors._signatures import HEX, fresh, live_keys, only_value, prove_hmac, tagged, unix_seconds
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "quoted": PayoutStatus.PENDING,
    "processing": PayoutStatus.INITIATED,
    "completed": PayoutStatus.DELIVERED,
    "failed": PayoutStatus.FAILED,
    "pending": PayoutStatus.PENDING,
    "succeeded": PayoutStatus.DELIVERED,
}
"""The first four are a transfer's words; `pending`, `succeeded` and `failed` are a disbursement's."""


class Kind(NamedTuple):
    """Where one kind of payout keeps what we read, and where the API has it."""

    identity: str
    amount: str
    asset: str
    path: str


TRANSFER: Final = Kind("transferId", "targetAmount", "targetAsset", "transfers")
DISBURSEMENT: Final = Kind("disbursementId", "amount", "asset", "disbursements")

EVENTS: Final = {"payments.transfers.": TRANSFER, "acceptance.disbursement.": DISBURSEMENT}
"""What event types about payouts begin with."""

_HEADER_NAMES: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}(?: [A-Za-z0-9_-]{1,64}){0,31}")
"""Headers one signature may cover, at most 32; Coinbase names a handful."""


class Coinbase(Connector):
    """One CDP project."""

    name = "coinbase"
    DOCUMENTATION = "https://docs.cdp.coinbase.com/webhooks/transfers/overview"
    BASE_URL = "https://api.cdp.coinbase.com/platform"
    CREDENTIALS = ("api_key_id", "api_key_secret")
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "tolerance_seconds": 300,  # both ways
            "metadata_key": "order_key",  # where whoever makes the transfer writes our key
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(hours=1),  # a quote expires after minutes
            PayoutStatus.SCHEDULED: timedelta(days=1),
            PayoutStatus.INITIATED: timedelta(days=3),  # a wire waits for a business day
            PayoutStatus.BROADCAST: timedelta(days=1),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-Hook0-Signature: t=<unix seconds>,h=<names>,v1=<hex>`; HMAC-SHA256 over time, names, values and body.

        Without v1 the older v0 counts, over time and body alone.
        """
        keys = live_keys(secrets)
        said = tagged(only_value(request, b"x-hook0-signature"))
        time = b",".join(said.get(b"t", ()))
        seconds = unix_seconds(time)
        covered = _covered(request, said.get(b"h", ()))
        texts = said.get(b"v1", ())
        parts = [time, *covered, request.body] if texts else [time, request.body]
        prove_hmac(texts or said.get(b"v0", ()), HEX, keys, b".".join(parts))
        return Verified(fresh(seconds, now, self.option("tolerance_seconds")))

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return the event's id, which stands in the body."""
        try:
            event = Fields.of(document(request.body)).values
        except UnreadableEvent:
            return digest_key(request.body)
        return event_key(request, event.get("eventId") or event.get("eventID"))  # guide and API write it differently

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a transfer that leaves one of our accounts, or a disbursement."""
        event = Fields.of(document(body))
        said = event.text("eventType")
        kind = next((kind for prefix, kind in EVENTS.items() if said.startswith(prefix)), None)
        if kind is None:
            return []
        payout = event.within("data")
        return [self._update(payout, kind, event.moment("timestamp"))] if _leaves(payout) else []

    def _update(self, payout: Fields, kind: Kind, occurred_at: datetime | None = None) -> PayoutUpdate:
        said = payout.text("status")
        status = status_of(said, STATUSES)
        asset = currency_of(payout, kind.asset)
        error = (payout.maybe_within("error") if status is PayoutStatus.FAILED else None) or Fields({})
        return PayoutUpdate(
            reference=payout.text(kind.identity),
            order_key=payout.maybe_text("externalReferenceId") or metadata_key(payout, self.option("metadata_key")),
            status=status,
            said=said,
            occurred_at=payout.moment("updatedAt") or occurred_at,
            amount_minor=payout.amount(kind.amount, asset),
            currency=asset,
            failure_code=error.maybe_text("code"),
            failure_message=error.prose("message") or payout.prose("failureReason"),
        )

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v2/transfers/{id} or /v2/disbursements/{id}; the id tells which."""
        del order_key
        segment = path_id(reference)
        kind = DISBURSEMENT if segment.startswith("disbursement_") else TRANSFER
        url = f"{self.base_url}/v2/{kind.path}/{segment}"
        return await fetch_one(
            http, url, self._headers(url), lambda body: self._update(Fields.of(document(body)), kind)
        )

    def _headers(self, url: str) -> dict[str, str]:
        key_id, secret = credential(self.account, "api_key_id"), credential(self.account, "api_key_secret")
        return {"Authorization": f"Bearer {bearer(key_id, secret, 'GET', url)}"}


def _covered(request: WebhookRequest, lists: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the covered names and values as they are signed. Raises `missing_header` where one of them is not there.

    That holds for v0 too, which does not cover them: a header that was announced and taken away is a change.
    Names are plain words, so that no text in front of the body can be taken for one, and each comes once.
    """
    names = b" ".join(lists)
    if not names:
        return b"", b""
    if len(lists) > 1 or not _HEADER_NAMES.fullmatch(names):
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    return names, b".".join([only_value(request, name) for name in names.lower().split(b" ")])


def _leaves(payout: Fields) -> bool:
    """Say whether the money comes from an account; what comes from the chain is a deposit."""
    source = payout.maybe_within("source")
    return source is None or bool(source.maybe_text("accountId"))
