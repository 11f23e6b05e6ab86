"""pawaPay: mobile money payouts in Africa. Listens only.

https://docs.pawapay.io/v2/docs/payouts and https://docs.pawapay.io/using_the_api#signatures

The webhook secret is pawaPay's public key, `keyid=<its id> <base64 SPKI or PEM>`, as GET /public-key/http gives it out;
without `keyid=` it answers to every id. Signed callbacks (RFC 9421) are optional at pawaPay and compulsory here.

All of pawaPay's customers get callbacks by the same key and choose payout ids themselves. So a callback to another
customer could be shown to us: what binds one to us is the host it was sent to. `authority` is that host, as pawaPay
was told it; without it nothing verifies.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import quote

from connectors._asymmetric import pin, pins
from connectors._base import (
    Connector,
    GatewayUnavailable,
    Http,
    InvalidSignature,
    NotFound,
    PayoutUpdate,
    Reason,
    UnreadableEvent,
    Verified,
    WebhookRequest,
)
from connectors._calls import ask, credential, unreadable_means
from connectors._json import Fields, digest_key, document, event_key, status_of
from connectors._rfc9421 import Policy, verified
from models.lifecycle import PayoutStatus

STATUSES: Final = {
    "ACCEPTED": PayoutStatus.PENDING,
    "ENQUEUED": PayoutStatus.PENDING,
    "PROCESSING": PayoutStatus.INITIATED,
    "SUBMITTED": PayoutStatus.BROADCAST,
    "IN_RECONCILIATION": PayoutStatus.BROADCAST,
    "COMPLETED": PayoutStatus.DELIVERED,
    "FAILED": PayoutStatus.FAILED,
}
"""Words of both versions of the API. IN_RECONCILIATION: the operator has it, and pawaPay asks how it ended."""


class PawaPay(Connector):
    """One pawaPay account."""

    name = "pawapay"
    DOCUMENTATION = "https://docs.pawapay.io/v2/docs/payouts"
    BASE_URL = "https://api.pawapay.io"
    CREDENTIALS = ("api_token",)
    OPTIONS: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "authority": "",  # compulsory: the host, and port if there is one, of the callback URL
            "algorithm": "ecdsa-p256-sha256",  # or ecdsa-p384-sha384, rsa-v1_5-sha256, rsa-pss-sha512
            "ecdsa_encoding": "der",  # as pawaPay's samples sign; "raw" is RFC 9421
            "required_components": ("@method", "@authority", "@path"),  # must be covered, besides content-digest
            "tolerance_seconds": 300,  # ASSUMED, both ways around `created`; `expires` holds in any case
        }
    )
    STATUSES = STATUSES
    SUPPORTS_PAYOUTS = False
    SILENCE: ClassVar[Mapping[PayoutStatus, timedelta]] = MappingProxyType(
        {
            PayoutStatus.PENDING: timedelta(hours=6),  # ENQUEUED while an operator is down
            PayoutStatus.SCHEDULED: timedelta(hours=6),
            PayoutStatus.INITIATED: timedelta(hours=2),  # mobile money takes seconds
            PayoutStatus.BROADCAST: timedelta(hours=24),
        }
    )

    # --- signature

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """`Signature`, `Signature-Input` and `Content-Digest` by RFC 9421 and RFC 9530."""
        pinned = pins(secrets, pin)
        if not self.option("authority"):
            raise InvalidSignature(Reason.NO_SECRET_CONFIGURED)
        policy = Policy(
            algorithm=self.option("algorithm"),
            required=frozenset(self.option("required_components")),
            authority=self.option("authority"),
            tolerance_seconds=self.option("tolerance_seconds"),
            is_der=self.option("ecdsa_encoding") == "der",
        )
        return verified(request, pinned, policy, now)

    # --- parse

    def event_key(self, request: WebhookRequest) -> str:
        """Return payout and status: callbacks have no id, and every try is signed anew."""
        try:
            callback = Fields.of(document(request.body)).values
        except UnreadableEvent:
            return digest_key(request.body)
        return event_key(request, callback.get("payoutId"), callback.get("status"))

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read a callback. Those about deposits and refunds have no payoutId."""
        callback = Fields.of(document(body))
        is_other = "payoutId" not in callback.values and (
            "depositId" in callback.values or "refundId" in callback.values
        )
        return [] if is_other else [_update(callback)]

    # --- calls

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """GET /v2/payouts/{payoutId}. The id is chosen by whoever makes the payout, so our key is one."""
        headers = {"Authorization": f"Bearer {credential(self.account, 'api_token')}"}
        payout = quote(order_key if reference is None else reference, safe="")
        reply = await ask(http, f"{self.base_url}/v2/payouts/{payout}", headers)
        if isinstance(reply, NotFound):
            return reply
        with unreadable_means(GatewayUnavailable):
            answer = Fields.of(document(reply.body))
            return NotFound() if answer.text("status") == "NOT_FOUND" else _update(answer.within("data"))


def _update(payout: Fields) -> PayoutUpdate:
    """Return what a payout object says; in both versions its times tell when it began and not when this was said."""
    said = payout.text("status")
    reason = payout.maybe_within("failureReason") or Fields({})
    currency = payout.maybe_text("currency")
    reference = payout.text("payoutId")
    return PayoutUpdate(
        reference=reference,
        order_key=reference,
        status=status_of(said, STATUSES),
        said=said,
        amount_minor=payout.amount("amount", currency),
        currency=currency,
        failure_code=reason.maybe_text("failureCode"),
        failure_message=reason.prose("failureMessage"),
    )
