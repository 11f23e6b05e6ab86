"""Endpoints as the API takes and shows them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field

from models.endpoint import Endpoint
from payouts.endpoint_choices import (
    EVENT_TYPES,
    EVERY_TYPE,
    HIGHEST_RATE,
    LONGEST_DESCRIPTION,
    LONGEST_WAIT_SECONDS,
    MOST_HEADERS,
    MOST_LABELS,
    MOST_RETRIES,
    Wish,
)
from payouts.endpoints import header_names
from payouts.signing import public_keys
from receiver.partners.shapes import Body, Moment, Shown

EventType = StrEnum("EventType", [(name, name) for name in (EVERY_TYPE, *EVENT_TYPES)])  # type: ignore[misc]
Scheme = Literal["v1", "v1a"]

_Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="https, with a public address; never redirected",
        examples=["https://partner.example/hooks"],
    ),
]
_Types = Annotated[
    list[EventType],
    Field(min_length=1, max_length=len(EVENT_TYPES), description="Which events are sent, or `*` alone for all"),
]
_Description = Annotated[str, Field(max_length=LONGEST_DESCRIPTION)]
_Metadata = Annotated[dict[str, str], Field(max_length=MOST_LABELS, description="Your own notes; we do not read them")]
_Headers = Annotated[
    dict[str, str],
    Field(
        max_length=MOST_HEADERS,
        description="Sent with every request, a token of yours for one. Kept sealed: only their names are shown again",
        examples=[{"x-token": "…"}],
    ),
]
_Rate = Annotated[int, Field(ge=1, le=HIGHEST_RATE, description="Deliveries a second at most; null is no limit")]
_Wait = Annotated[int, Field(ge=1, le=LONGEST_WAIT_SECONDS)]
_Schedule = Annotated[
    list[_Wait],
    Field(min_length=1, max_length=MOST_RETRIES, description="Seconds to wait after each failed attempt; null is ours"),
]
_Schemes = Annotated[list[Scheme], Field(min_length=1, max_length=2, description="How its webhooks are signed")]


class NewEndpoint(Body):
    """Where you listen. Only `url` is needed."""

    url: _Url = Field(repr=False)
    event_types: _Types = Field(default_factory=lambda: [EventType(EVERY_TYPE)])
    description: _Description = ""
    metadata: _Metadata = Field(default_factory=dict)
    headers: _Headers = Field(default_factory=dict, repr=False)
    rate_limit: _Rate | None = None
    retry_schedule: _Schedule | None = None
    signatures: _Schemes = Field(default_factory=lambda: cast("_Schemes", ["v1"]))


class EndpointChanges(Body):
    """What is to be changed; what is left out stays. `metadata` and `headers` are replaced as a whole.

    null takes away a `rate_limit` or a `retry_schedule`; elsewhere it is as if it were left out.
    """

    url: _Url | None = Field(None, repr=False)
    event_types: _Types | None = None
    description: _Description | None = None
    metadata: _Metadata | None = None
    headers: _Headers | None = Field(None, repr=False)
    rate_limit: _Rate | None = None
    retry_schedule: _Schedule | None = None
    signatures: _Schemes | None = None


NULLABLE: Final = frozenset({"rate_limit", "retry_schedule"})
"""For which null says something."""


def wish_of(body: NewEndpoint | EndpointChanges) -> Wish:
    """Return what is asked for but the URL, by the names of the rules."""
    given = body.model_dump(include=set(body.model_fields_set) - {"url"})
    return cast("Wish", {name: value for name, value in given.items() if value is not None or name in NULLABLE})


class PublicKeyShown(Shown):
    """What verifies `v1a` signatures."""

    key: Annotated[str, Field(examples=["whpk_…"])]
    expires_at: Moment | None


class Health(Shown):
    """How it fares."""

    breaker: Annotated[str, Field(description="`closed` when all is well; `open` and `half_open` while it fails")]
    failures: Annotated[int, Field(description="Failed attempts since the last success")]
    failing_since: Moment | None
    not_before: Annotated[Moment | None, Field(description="Nothing is sent before")]


class EndpointShown(Shown):
    """Where a partner listens."""

    id: Annotated[str, Field(examples=["ep_019a3c4e5f607182a1b2c3d4e5f6"])]
    url: Annotated[str, Field(repr=False)]
    event_types: list[EventType]
    description: str
    metadata: dict[str, str]
    header_names: list[str]
    rate_limit: int | None
    retry_schedule: list[int] | None
    signatures: list[Scheme]
    public_keys: list[PublicKeyShown]
    is_enabled: bool
    disabled_at: Moment | None
    disabled_reason: Annotated[
        str | None, Field(description="`gone` and `failing` are our doing; null when somebody switched it off")
    ]
    health: Health
    test_mode: bool
    created_at: Moment
    updated_at: Moment


class EndpointAdded(EndpointShown):
    """A new endpoint."""

    secret: Annotated[str, Field(repr=False, description="Shown this once: keep it", examples=["whsec_…"])]


class SecretRotated(Shown):
    """A new secret."""

    id: str
    secret: Annotated[str, Field(repr=False, description="Shown this once: keep it", examples=["whsec_…"])]
    old_secrets_until: Annotated[Moment, Field(description="Until then every webhook is signed with the old ones too")]


def facts(endpoint: Endpoint, now: datetime) -> dict[str, Any]:
    """Return an endpoint as it is shown. Neither secrets nor values of headers are in it."""
    as_they_are = ("id", "url", "description", "rate_limit", "retry_schedule", "is_enabled", "disabled_at")
    times = ("disabled_reason", "test_mode", "created_at", "updated_at")
    fares = ("breaker", "failures", "failing_since", "not_before")
    keys = public_keys(endpoint, now)
    return {
        **{name: getattr(endpoint, name) for name in (*as_they_are, *times)},
        "event_types": endpoint.event_types or [EVERY_TYPE],
        "metadata": endpoint.labels,
        "header_names": header_names(endpoint),
        "signatures": endpoint.schemes,
        "public_keys": [{"key": key.text, "expires_at": key.expires_at} for key in keys],
        "health": {name: getattr(endpoint, name) for name in fares},
    }


def shown(endpoint: Endpoint, now: datetime) -> EndpointShown:
    """Return an endpoint as its partner reads it."""
    return EndpointShown.model_validate(facts(endpoint, now))
