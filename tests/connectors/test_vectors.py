"""Known answers of gateways' own libraries and of standards, each through every connector that speaks the scheme.

One file per scheme in `vectors/`; dropping a file in adds it. Its fields: `connector`, and `also` where further ones
speak the scheme; `vectors`; `options` that all of them need; `body_between`, where a vector's body is only the part
that is signed. Where no public vector exists, OpenSSL has computed one from the documented formula. A vector runs as it
stands unless `EXCEPTIONS` says here why a connector must answer otherwise.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors import NAMES, connector_class
from connectors._base import Account, InvalidSignature, Reason, WebhookRequest

FIELDS = {"scheme", "connector", "also", "options", "body_between", "vectors"}
SCHEMES: list[dict[str, Any]] = [
    json.loads(path.read_text()) for path in sorted(Path(__file__).with_name("vectors").glob("*.json"))
]
RUNS = [
    (scheme, name, vector)
    for scheme in SCHEMES
    for name in [scheme["connector"], *scheme.get("also", [])]
    for vector in scheme["vectors"]
]

EXCEPTIONS = {
    ("rfc9421-01", "pawapay"): (
        Reason.UNCOVERED_COMPONENT,
        "valid by the standard, and covers nothing at all: we demand the digest of the body",
    ),
    ("rfc9421-08", "pawapay"): (
        Reason.UNCOVERED_COMPONENT,
        "valid by the standard, and covers no digest of the body",
    ),
}
"""Vectors that are valid and that a connector refuses all the same, with the reason it gives, and ours."""


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def path_of(vector: dict[str, Any]) -> str:
    target = urlsplit(vector.get("target_uri", ""))
    whole = f"{target.path}?{target.query}" if target.query else target.path
    return str(vector.get("request_path") or whole or "/")


def request_of(scheme: dict[str, Any], vector: dict[str, Any]) -> WebhookRequest:
    headers = [
        (name.lower().encode(), text.encode()) for name, texts in vector["headers"].items() for text in listed(texts)
    ]
    before, after = scheme.get("body_between", ("", ""))
    body = f"{before}{vector['body']}{after}".encode()
    return WebhookRequest(headers, body, vector.get("method", "POST"), path_of(vector))


def verify(scheme: dict[str, Any], name: str, vector: dict[str, Any]) -> None:
    options = {"tolerance_seconds": vector["tolerance_seconds"]} | scheme.get("options", {}) | vector.get("options", {})
    now = datetime.fromtimestamp(vector["verify_at"] or 0, UTC)
    secrets = listed(vector["secret_or_public_key"])
    connector_class(name)(Account(options=options)).verify(request_of(scheme, vector), secrets, now)


@pytest.mark.parametrize(("scheme", "name", "vector"), RUNS, ids=[f"{vector['id']}-{name}" for _, name, vector in RUNS])
def test_a_known_answer_holds(scheme: dict[str, Any], name: str, vector: dict[str, Any]) -> None:
    if vector["expected"] == "valid" and (vector["id"], name) not in EXCEPTIONS:
        verify(scheme, name, vector)
        return

    with pytest.raises(InvalidSignature) as refused:
        verify(scheme, name, vector)

    if (vector["id"], name) in EXCEPTIONS:
        assert refused.value.reason is EXCEPTIONS[vector["id"], name][0]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["scheme"])
def test_a_scheme_has_a_home_and_answers_of_both_kinds(scheme: dict[str, Any]) -> None:
    assert {scheme["connector"], *scheme.get("also", [])} <= set(NAMES), "no connector speaks this scheme"
    assert set(scheme) <= FIELDS
    assert {vector["expected"] for vector in scheme["vectors"]} == {"valid", "invalid"}
    assert len({vector["id"] for vector in scheme["vectors"]}) == len(scheme["vectors"])


def test_every_exception_is_about_a_valid_vector_that_runs() -> None:
    valid = {(vector["id"], name) for _, name, vector in RUNS if vector["expected"] == "valid"}

    assert set(EXCEPTIONS) <= valid


def test_every_connector_has_known_answers() -> None:
    assert {name for _, name, _ in RUNS} == set(NAMES)
