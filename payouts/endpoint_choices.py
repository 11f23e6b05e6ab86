"""What a partner may choose for an endpoint: every field's limits, and the text that tells how to keep within them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict

from models.lifecycle import PayoutStatus
from payouts.addresses import VettedUrl
from payouts.refused import Refused
from payouts.signing import SCHEMES

EVENT_TYPES: Final = tuple(f"payout.{status}" for status in PayoutStatus)
EVERY_TYPE: Final = "*"

LONGEST_DESCRIPTION: Final = 500
MOST_LABELS: Final = 20
LONGEST_LABEL: Final = 500
MOST_HEADERS: Final = 10
LONGEST_HEADER_VALUE: Final = 1_024
LARGEST_HEADERS: Final = 4_096
"""Characters of all names and values together."""
HIGHEST_RATE: Final = 10_000
MOST_RETRIES: Final = 20
LONGEST_WAIT_SECONDS: Final = 48 * 3_600


class Wish(TypedDict, total=False):
    """What a partner asks for, by the names of the API. What is left out stays as it is, or as it usually is."""

    url: VettedUrl
    event_types: Sequence[str] | None
    """None or `["*"]` is every type."""
    description: str
    metadata: Mapping[str, str]
    headers: Mapping[str, str]
    """All of them: those that are left out are gone."""
    rate_limit: int | None
    retry_schedule: Sequence[int] | None
    signatures: Sequence[str]


def checked(wish: Wish) -> dict[str, Any]:
    """Return the wish in the form in which it is stored. Raises `Refused`."""
    return {name: _CHECKS[name](value) for name, value in wish.items()}


def _event_types(value: Sequence[str] | None) -> list[str] | None:
    if value is None or list(value) == [EVERY_TYPE]:
        return None
    unknown = sorted(set(value) - set(EVENT_TYPES))
    if unknown or not value:
        raise Refused("event_types_invalid", f"give {EVERY_TYPE} alone, or some of {', '.join(EVENT_TYPES)}")
    return [each for each in EVENT_TYPES if each in value]


def _description(value: str) -> str:
    if len(value) > LONGEST_DESCRIPTION or "\0" in value:
        raise Refused("description_invalid", f"a description has at most {LONGEST_DESCRIPTION} characters")
    return value


def _labels(value: Mapping[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _LABEL.fullmatch(name):
            raise Refused(
                "metadata_invalid", "a name in metadata has 1 to 40 letters, digits, dots, dashes or underscores"
            )
        if len(text) > LONGEST_LABEL or "\0" in text:
            raise Refused("metadata_invalid", f"a value in metadata has at most {LONGEST_LABEL} characters")
    if len(value) > MOST_LABELS:
        raise Refused("metadata_invalid", f"metadata has at most {MOST_LABELS} entries")
    return dict(value)


def _headers(value: Mapping[str, str]) -> dict[str, str]:
    """Return the headers by lower-case names. One that says how to read the request, or what proves it, is ours."""
    headers = {name.lower(): text for name, text in value.items()}
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Refused("headers_invalid", "a header's name has 1 to 64 letters, digits, dashes or underscores")
        if name in _OURS or name.startswith(_OUR_PREFIXES):
            raise Refused("headers_invalid", f"{name} is set by us; choose another name")
        if len(text) > LONGEST_HEADER_VALUE or not _HEADER_VALUE.fullmatch(text):
            raise Refused("headers_invalid", f"{name}: at most {LONGEST_HEADER_VALUE} printable ASCII characters")
    if len(headers) < len(value):
        raise Refused("headers_invalid", "a header is there twice; names differ by more than their case")
    if len(headers) > MOST_HEADERS or sum(map(len, [*headers, *headers.values()])) > LARGEST_HEADERS:
        raise Refused("headers_invalid", f"at most {MOST_HEADERS} headers of {LARGEST_HEADERS} characters together")
    return headers


def _rate_limit(value: int | None) -> int | None:
    if value is not None and not 1 <= value <= HIGHEST_RATE:
        raise Refused("rate_limit_invalid", f"1 to {HIGHEST_RATE} deliveries a second, or null for no limit")
    return value


def _retry_schedule(value: Sequence[int] | None) -> list[int] | None:
    if value is None:
        return None
    if not 1 <= len(value) <= MOST_RETRIES or not all(1 <= seconds <= LONGEST_WAIT_SECONDS for seconds in value):
        raise Refused(
            "retry_schedule_invalid",
            f"1 to {MOST_RETRIES} waits of 1 to {LONGEST_WAIT_SECONDS} seconds, or null for the usual schedule",
        )
    return list(value)


def _signatures(value: Sequence[str]) -> list[str]:
    if not value or set(value) - set(SCHEMES):
        raise Refused("signatures_invalid", f"one or both of {', '.join(SCHEMES)}")
    return [scheme for scheme in SCHEMES if scheme in value]


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "url": lambda url: url.text,
    "event_types": _event_types,
    "description": _description,
    "metadata": _labels,
    "headers": _headers,
    "rate_limit": _rate_limit,
    "retry_schedule": _retry_schedule,
    "signatures": _signatures,
}

_LABEL: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_HEADER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HEADER_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")

_OUR_PREFIXES: Final = ("webhook-", "proxy-", "sec-", "content-", "transfer-")
_OURS: Final = frozenset(
    {
        "host",
        "user-agent",
        "accept-encoding",
        "date",
        # of the connection, not of the request (RFC 9110, 7.6.1)
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "http2-settings",
        # they would be believed by whatever stands in front of the partner's server
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    }
)
