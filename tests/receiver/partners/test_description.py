"""The API does what /openapi.json says, whatever is sent. Schemathesis makes up the requests; `make chaos` more."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from receiver.partners.openapi import document
from receiver.partners.operation import Operation
from receiver.partners.refusals import CODES
from receiver.partners.routes import OPERATIONS
from tests.receiver.partners.described import SCHEMA, let_in, who_asks
from tests.receiver.partners.partner import Partner

EVEN_SO = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]

DOCUMENT: dict[str, Any] = json.loads(document(OPERATIONS))


@pytest.fixture
def keys(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    with let_in(monkeypatch) as headers:
        yield headers


@SCHEMA.parametrize()
@settings(max_examples=6, deadline=None, suppress_health_check=EVEN_SO)
def test_it_answers_as_it_is_described(case: schemathesis.Case, keys: dict[str, str]) -> None:
    case.call_and_validate(headers=who_asks(case, keys))


def test_the_document_is_open_to_everybody(partner: Partner) -> None:
    answer = partner.get("/openapi.json", authorization="")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == DOCUMENT
    assert answer.json["openapi"] == "3.1.0"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_refusal_of_an_operation_is_described_with_an_example(operation: Operation) -> None:
    responses = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]

    for code in (*operation.refusals, *operation.security.refusals, "unavailable", "internal_error"):
        status, title = CODES[code]
        example = responses[str(status)]["content"]["application/problem+json"]["examples"][code]["value"]
        assert (example["code"], example["status"], example["title"]) == (code, status, title)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_tells_what_it_is_and_who_may(operation: Operation) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]

    assert described["summary"]
    assert described["security"] == [{operation.security.name: []}]
    assert operation.scope is None or operation.scope in described["description"]
    assert not operation.body or described["requestBody"]["content"]["application/json"]["examples"]


def test_operations_have_names_of_their_own() -> None:
    names = [operation.name for operation in OPERATIONS]

    assert sorted(names) == sorted(set(names))
