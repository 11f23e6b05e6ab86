"""Cashfree Payouts: transfers in India, webhooks of version 2 or 1. Listens only.

https://www.cashfree.com/docs/api-reference/payouts/v2/webhooks/webhooks-v2 (and webhooks-v1 beside it)

The words TRANSFER_SUCCESS and TRANSFER_ACKNOWLEDGED change places between the versions: one means that our account was
debited, the other that the beneficiary was credited. Version 2's own samples moreover contradict its text, so where a
message tells more precisely which of the two it is (`status_code`, `acknowledged`), that decides.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

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
from connectors._cashfree_v1 import key_of_v1, read_v1, verify_v1
from connectors._json import Fields, digest_key, event_key, exact_document, status_of
from connectors._signatures import BASE64, fresh, live_keys, only_value, prove_hmac, unix_seconds, values
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "TRANSFER_APPROVED": PayoutStatus.PENDING,
    "TRANSFER_ACKNOWLEDGED": PayoutStatus.BROADCAST,
    "TRANSFER_SUCCESS": PayoutStatus.DELIVERED,
    "TRANSFER_FAILED": PayoutStatus.FAILED,
    "TRANSFER_REVERSED": PayoutStatus.RETURNED,
    "TRANSFER_REJECTED": PayoutStatus.FAILED,
}
"""Event types of version 2, by its text. TRANSFER_REJECTED is Cashfree's own refusal, not a person's."""

PRECISE: Final = {"COMPLETED": PayoutStatus.DELIVERED, "SENT_TO_BENEFICIARY": PayoutStatus.BROADCAST}
"""`status_code` of a transfer that succeeded: credited, or debited only."""

STANDINGS: Final = {
    "RECEIVED": PayoutStatus.PENDING,
    "APPROVAL_PENDING": PayoutStatus.PENDING,
    "QUEUED": PayoutStatus.PENDING,
    "PENDING": PayoutStatus.INITIATED,
    "SUCCESS": PayoutStatus.BROADCAST,
    "FAILED": PayoutStatus.FAILED,
    "REVERSED": PayoutStatus.RETURNED,
    "REJECTED": PayoutStatus.FAILED,
}
"""`status` of a transfer that we ask about. Without a precise code, SUCCESS proves no more than the debit."""

OTHER_SUBJECTS: Final = {"CREDIT_CONFIRMATION", "BENEFICIARY_INCIDENT", "LOW_BALANCE_ALERT"}

_WITHOUT_ZONE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?")


class Cashfree(Connector):
    """One Cashfree Payouts account. The webhook secret is the client secret of its oldest active API key."""

    name = "cashfree"
    DOCUMENTATION = "https://www.cashfree.com/docs/api-reference/payouts/v2/webhooks/webhooks-v2"
    BASE_URL = "https://api.cashfree.com/payout"
    CREDENTIALS = ("client_id", "client_secret")
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "version": "v2",  # of the webhooks: v1 or v2
            "tolerance_seconds": 300,  # ASSUMED; version 1 signs no time
            "currency": "INR",  # no message names it
            "utc_offset": "+05:30",  # ASSUMED, for event times without one
            "api_version": "2024-01-01",
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(days=1),
            PayoutStatus.SCHEDULED: timedelta(days=4),
            PayoutStatus.INITIATED: timedelta(hours=12),
            PayoutStatus.BROADCAST: timedelta(days=1),
        }
    )

    @property
    def is_v1(self) -> bool:
        """Whether the webhooks are of version 1."""
        return bool(self.option("version") == "v1")

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`X-Webhook-Signature`: base64 of HMAC-SHA256 over `X-Webhook-Timestamp` and the raw body, or as in version 1.

        Nothing stands between time and body, so a digit could move from one to the other: no body begins with one.
        The version is configured: left to the sender, the weaker scheme would always be open.
        """
        keys = live_keys(secrets)
        if self.is_v1:
            return verify_v1(request.body, keys)
        signatures = values(request, b"x-webhook-signature")
        time = only_value(request, b"x-webhook-timestamp")
        seconds = _seconds(time)
        prove_hmac(signatures, BASE64, keys, time + request.body)
        if request.body[:1].isdigit():
            raise InvalidSignature(Reason.SIGNATURE_MISMATCH)
        return Verified(fresh(seconds, now, self.option("tolerance_seconds")))

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return type, transfer and a digest of what is signed: there is no event id, and every try is signed anew."""
        try:
            if self.is_v1:
                return key_of_v1(request.body)
            event = Fields.of(exact_document(request.body))
            transfer = event.within("data").values
        except UnreadableEvent:
            return digest_key(request.body)
        identity = (event.values.get("type"), transfer.get("cf_transfer_id"))
        return event_key(request, *identity, digest_key(request.body))

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a transfer event. A rejected batch does not name its transfers: that is for a person."""
        if self.is_v1:
            return read_v1(body, OTHER_SUBJECTS)
        event = Fields.of(exact_document(body))
        said = event.text("type")
        if said in OTHER_SUBJECTS:
            return []
        return [self._update(event.within("data"), said, STATUSES, self._moment(event, "event_time"))]

    def _update(
        self, transfer: Fields, said: str, table: Mapping[str, PayoutStatus], occurred_at: datetime | None
    ) -> PayoutUpdate:
        status = status_of(said, table)
        code = transfer.maybe_text("status_code")
        if status in {PayoutStatus.DELIVERED, PayoutStatus.BROADCAST}:
            status = PRECISE.get(code or "", status)
        failed = status in {PayoutStatus.FAILED, PayoutStatus.RETURNED}
        return PayoutUpdate(
            reference=transfer.identifier("cf_transfer_id"),
            order_key=transfer.text("transfer_id"),
            status=status,
            said=said,
            occurred_at=occurred_at,
            amount_minor=transfer.amount("transfer_amount", self.option("currency")),
            currency=self.option("currency"),
            failure_code=code if failed else None,
            failure_message=transfer.prose("status_description") if failed else None,
        )

    def _moment(self, fields: Fields, name: str) -> datetime | None:
        text = fields.maybe_text(name)
        if text is None or not _WITHOUT_ZONE.fullmatch(text):
            return fields.moment(name)
        return Fields({name: text + self.option("utc_offset")}, fields.path).moment(name)

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /transfers, by Cashfree's id or by our own, which Cashfree keeps unique."""
        name, value = ("cf_transfer_id", reference) if reference else ("transfer_id", order_key)
        url = f"{self.base_url}/transfers?{urlencode({name: value})}"
        return await fetch_one(http, url, self._headers(), self._read)

    def _read(self, body: bytes) -> PayoutUpdate:
        transfer = Fields.of(exact_document(body))
        return self._update(transfer, transfer.text("status"), STANDINGS, self._moment(transfer, "updated_on"))

    def _headers(self) -> dict[str, str]:
        return {
            "x-client-id": credential(self.account, "client_id"),
            "x-client-secret": credential(self.account, "client_secret"),
            "x-api-version": self.option("api_version"),
        }


def _seconds(time: bytes) -> int:
    """Return a unix time that Cashfree writes in milliseconds, or in seconds in older samples."""
    is_millis = time.isdigit() and len(time) == len("1746427759733")
    return unix_seconds(time[:-3] if is_millis else time)
