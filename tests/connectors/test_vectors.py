"""Known answers of the gateways' own libraries, each through the connector that speaks the scheme.

One file per scheme in `vectors/`; dropping a file in adds it. Its fields: `connector`; `vectors`; `options` that all of
them need; `body_between`, where a vector's body is only the part that is signed.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors import NAMES, connector_class
from connectors._base import Account, InvalidSignature, WebhookRequest

SCHEMES: list[dict[str, Any]] = [
    json.loads(path.read_text()) for path in sorted(Path(__file__).with_name("vectors").glob("*.json"))
]
VECTORS = [(scheme, vector) for scheme in SCHEMES if scheme["connector"] in NAMES for vector in scheme["vectors"]]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def request_of(scheme: dict[str, Any], vector: dict[str, Any]) -> WebhookRequest:
    headers = [
        (name.lower().encode(), text.encode()) for name, texts in vector["headers"].items() for text in listed(texts)
    ]
    before, after = scheme.get("body_between", ("", ""))
    body = f"{before}{vector['body']}{after}".encode()
    return WebhookRequest(headers, body, vector.get("method", "POST"), vector.get("request_path", "/"))


@pytest.mark.parametrize(("scheme", "vector"), VECTORS, ids=[vector["id"] for _, vector in VECTORS])
def test_a_known_answer_of_the_gateways_own_library_holds(scheme: dict[str, Any], vector: dict[str, Any]) -> None:
    options = {"tolerance_seconds": vector["tolerance_seconds"]} | scheme.get("options", {}) | vector.get("options", {})
    connector = connector_class(scheme["connector"])(Account(options=options))
    request, secrets = request_of(scheme, vector), listed(vector["secret_or_public_key"])
    now = datetime.fromtimestamp(vector["verify_at"] or 0, UTC)

    if vector["expected"] == "valid":
        connector.verify(request, secrets, now)
    else:
        with pytest.raises(InvalidSignature):
            connector.verify(request, secrets, now)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["scheme"])
def test_a_scheme_has_answers_of_both_kinds(scheme: dict[str, Any]) -> None:
    assert {vector["expected"] for vector in scheme["vectors"]} == {"valid", "invalid"}
