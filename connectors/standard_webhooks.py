"""Any gateway that speaks Standard Webhooks, or Svix, and whose messages hold one payout. Listens only.

https://www.standardwebhooks.com and, for the header names of Svix, https://docs.svix.com/receiving/verifying-payloads/how

The signature is standard; words and fields are not, so they are options of the integration. Their defaults read what
Ratchet itself sends to its partners.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar

from connectors._base import (
    Account,
    Connector,
    GatewayUnavailable,
    Http,
    InvalidSignature,
    NotFound,
    PayoutUpdate,
    UnreadableEvent,
    Verified,
    WebhookRequest,
)
from connectors._calls import credential, fetch_one
from connectors._json import Fields, digest_key, event_key, exact_document, status_of
from connectors._listening import currency_of, minor_units, path_id
from connectors._signatures import fresh
from connectors._standard_webhooks import message_id, prove_standard
from models.lifecycle import PayoutStatus

STATUSES: Final = {status.value: status for status in PayoutStatus}
"""Our own words; the option `statuses` puts the gateway's in their place."""

Read = TypeVar("Read")


class StandardWebhooks(Connector):
    """One account at a gateway that speaks Standard Webhooks."""

    name = "standard_webhooks"
    DOCUMENTATION = "https://www.standardwebhooks.com"
    BASE_URL = "https://gateway.invalid"
    CREDENTIALS = ("api_key",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "tolerance_seconds": 300,  # both ways
            "statuses": "",  # theirs=ours, …: paid=delivered,bounced=returned
            "type_path": "type",  # where the event's type stands; empty: every message is about a payout
            "event_prefix": "payout.",  # what types about payouts begin with
            "id_path": "data.id",
            "order_key_path": "data.reference",
            "status_path": "data.status",
            "amount_path": "data.amount",
            "amount_unit": "major",  # major: 12.50; minor: 1250
            "currency_path": "data.currency",  # empty: the gateway names none, and no amount is read
            "occurred_at_path": "timestamp",
            "failure_code_path": "data.failure.code",
            "failure_message_path": "data.failure.message",
            "read_path": "",  # where one payout is read: /v1/payouts/{id}; empty: nowhere
            "read_root": "data",  # the field of a message that such an answer equals; empty: the whole message
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self.statuses: Final = _table(self.option("statuses")) or STATUSES

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`Webhook-Signature: v1,<base64> v1a,<base64>`, over id, time and raw body, joined by dots.

        v1 is HMAC-SHA256 and needs a shared secret (`whsec_…`), v1a is Ed25519 and needs the public key (`whpk_…`);
        each is tried with keys of its own kind only. Other versions beside them are skipped.
        """
        return Verified(fresh(prove_standard(request, secrets), now, self.option("tolerance_seconds")))

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return the message's id, which is signed and stays the same over retries."""
        try:
            return event_key(request, message_id(request).decode())
        except InvalidSignature:
            return digest_key(request.body)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read one payout, by the paths of the integration."""
        message = Fields.of(exact_document(body))
        if self.option("type_path"):
            kind = self._must(message, "type_path", Fields.maybe_text)
            if not kind.startswith(self.option("event_prefix")):
                return []
        return [self._update(message)]

    def _update(self, message: Fields) -> PayoutUpdate:
        said = self._must(message, "status_path", Fields.maybe_text)
        currency = self._may(message, "currency_path", currency_of)
        read = minor_units if self.option("amount_unit") == "minor" else Fields.amount
        return PayoutUpdate(
            reference=self._must(message, "id_path", Fields.identifier),
            order_key=self._may(message, "order_key_path", Fields.identifier),
            status=status_of(said, self.statuses),
            said=said,
            occurred_at=self._may(message, "occurred_at_path", Fields.moment),
            amount_minor=self._may(message, "amount_path", lambda at, name: read(at, name, currency))
            if currency
            else None,
            currency=currency,
            failure_code=self._may(message, "failure_code_path", Fields.maybe_text),
            failure_message=self._may(message, "failure_message_path", Fields.prose),
        )

    def _may(self, message: Fields, option: str, read: Callable[[Fields, str], Read | None]) -> Read | None:
        """Return what stands at the path that `option` names, None where the path is empty or leads nowhere."""
        *holders, name = self.option(option).split(".")
        inner: Fields | None = message
        for holder in holders:
            inner = inner.maybe_within(holder) if inner else None
        return read(inner, name) if inner and name else None

    def _must(self, message: Fields, option: str, read: Callable[[Fields, str], Read | None]) -> Read:
        found = self._may(message, option, read)
        if found is None:
            raise UnreadableEvent(f"{self.option(option)} is missing")
        return found

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET the option `read_path`, with the credential as bearer token."""
        del order_key
        if not self.option("read_path"):
            raise GatewayUnavailable("option read_path does not say where a payout is read")
        url = self.base_url + self.option("read_path").replace("{id}", path_id(reference))
        headers = {"Authorization": f"Bearer {credential(self.account, 'api_key')}"}
        return await fetch_one(http, url, headers, self._read)

    def _read(self, body: bytes) -> PayoutUpdate:
        answer, root = exact_document(body), self.option("read_root")
        return self._update(Fields.of({root: answer} if root else answer))


def _table(written: str | Mapping[str, str]) -> dict[str, PayoutStatus]:
    """Return the integration's table of words.

    A word that is given none of our statuses stays unknown: its messages are for a person then, and a mistyped table
    does not keep the whole integration from listening.
    """
    if isinstance(written, str):
        written = dict(pair.split("=", 1) for pair in written.split(",") if "=" in pair)
    return {theirs.strip(): STATUSES[ours.strip()] for theirs, ours in written.items() if ours.strip() in STATUSES}
