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
    secrets, lines = _in_this_second(delivery.to, timestamp)
    signed = signature(secrets, delivery.event_id, timestamp, delivery.payload.encode())
    return [*lines, f"webhook-id: {delivery.event_id}", f"webhook-signature: {signed}"]


@lru_cache(MOST_OPENED)
def _in_this_second(to: Target, timestamp: int) -> tuple[list[str], list[str]]:
    """Return what signs now, and the lines that all attempts of a second have."""
    opened = _open(to)
    now = datetime.fromtimestamp(timestamp, UTC)
    secrets = [secret for scheme in to.schemes for secret in opened.secrets.live(now, SCHEMES[scheme])]
    return secrets, ["content-type: application/json", f"webhook-timestamp: {timestamp}", *opened.own]


@lru_cache(MOST_OPENED)
def _open(to: Target) -> _Opened:
    """Open what is sealed, remembering it by what was sealed: what is sealed anew is another key."""
    own: Mapping[str, str] = unseal(to.sealed_headers) if to.sealed_headers else {}
    return _Opened(EndpointSecrets.opened(to.sealed), tuple(f"{name}: {text}" for name, text in own.items()))
