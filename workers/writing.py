"""The headers of one attempt: what every webhook has, what the endpoint wants, and what proves that it is ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from models.endpoint import EndpointSecrets
from models.sealed import unseal
from payouts.deliveries import Claimed, Target
from payouts.signing import SCHEMES, signature

MOST_OPENED: Final = 4_096


@dataclass(frozen=True, slots=True)
class _Opened:
    secrets: EndpointSecrets = field(repr=False)
    own: tuple[str, ...] = field(repr=False)
    """Lines of the endpoint's own headers."""


def headers(delivery: Claimed, timestamp: int) -> list[str]:
    """Return the header lines of an attempt that is made at this unix time."""
    opened = _open(delivery.to)
    now = datetime.fromtimestamp(timestamp, UTC)
    secrets = [secret for scheme in delivery.to.schemes for secret in opened.secrets.live(now, SCHEMES[scheme])]
    signed = signature(secrets, delivery.event_id, timestamp, delivery.payload.encode())
    return [
        "content-type: application/json",
        f"webhook-id: {delivery.event_id}",
        f"webhook-timestamp: {timestamp}",
        f"webhook-signature: {signed}",
        *opened.own,
        "expect:",
    ]


@lru_cache(MOST_OPENED)
def _open(to: Target) -> _Opened:
    """Open what is sealed, remembering it by what was sealed: what is sealed anew is another key."""
    own: Mapping[str, str] = unseal(to.sealed_headers) if to.sealed_headers else {}
    return _Opened(EndpointSecrets.opened(to.sealed), tuple(f"{name}: {text}" for name, text in own.items()))
