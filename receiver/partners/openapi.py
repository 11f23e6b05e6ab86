"""The OpenAPI 3.1 document, written from the declarations that serve the requests."""

from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import BaseModel, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from receiver.partners.limits import Allowance
from receiver.partners.operation import API_KEY, Operation
from receiver.partners.refusals import CODES, RETRY_AFTER, Refusal
from receiver.problems import MEDIA_TYPE

_EVERYWHERE: Final = ("internal_error", "overloaded", "unavailable")
_WITH_BODY: Final = ("malformed_json", "body_too_large", "not_json")
_WITH_KEY: Final = ("invalid_idempotency_key", "idempotency_conflict", "idempotency_in_progress")

_ABOUT: Final = """\
Create payouts, follow them, and hear of them by signed webhooks.

Every answer carries a `Request-Id`. Refusals are RFC 9457 problem documents with a machine-readable `code`.
Amounts are decimal text with an ISO 4217 or asset code, times RFC 3339 in UTC, ids opaque and sorting by time.
What a `sk_test_…` key makes, only `sk_test_…` keys see, and no money moves; likewise for `sk_live_…`.
"""


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    detail: str
    pointer: str | None = Field(None, description="JSON pointer into the body, as a URI fragment")
    parameter: str | None = Field(None, description="Name of a query parameter")


class ProblemDocument(BaseModel):
    """A refusal, RFC 9457."""

    type: str
    title: str
    status: int
    code: str = Field(description="For machines; it never changes")
    detail: str | None = Field(None, description="For people: how to mend it")
    errors: list[Fault] | None = None


def document(operations: Sequence[Operation]) -> bytes:
    """Return the document as JSON."""
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _operation(operation, schemas)
    securities = {operation.security.name: dict(operation.security.scheme) for operation in operations}
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Ratchet",
                "version": "1",
                "description": _ABOUT,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
            "paths": paths,
            "components": {"schemas": schemas.components, "securitySchemes": securities},
        }
    )


class _Schemas:
    """The JSON schemas of every model that an operation names."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        asked: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ProblemDocument, "serialization")]
        for operation in operations:
            asked += [(operation.body, "validation")] if operation.body else []
            asked += [(operation.answer, "serialization")] if operation.answer else []
        self._references, definitions = models_json_schema(
            list(dict.fromkeys(asked)), ref_template="#/components/schemas/{model}"
        )
        self.components = definitions["$defs"]

    def of(self, model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
        return self._references[model, mode]


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": [{operation.security.name: []}],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(operation, schemas),
    }
    if operation.scope:
        described["description"] += f"\n\nNeeds the scope `{operation.scope}`."
    if operation.body:
        content: dict[str, Any] = {"schema": schemas.of(operation.body, "validation")}
        if operation.examples:
            content["examples"] = {name: {"value": value} for name, value in operation.examples.items()}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    schema = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in operation.parameters]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": shape.get("description", ""),
            "schema": _inlined(shape, definitions),
        }
        for name, shape in schema["properties"].items()
    ]


def _inlined(shape: Any, definitions: dict[str, Any]) -> Any:
    """Return a parameter's schema without references, and without null: what is not asked for is left out."""
    if isinstance(shape, list):
        return [_inlined(item, definitions) for item in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        return _inlined(definitions[shape["$ref"].rpartition("/")[2]], definitions)
    kinds = [kind for kind in shape.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        return _inlined(kinds[0], definitions)
    return {name: _inlined(item, definitions) for name, item in shape.items() if (name, item) != ("default", None)}


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if not operation.is_idempotent:
        return []
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Sending the request again under the same key gives the same answer and no second effect.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
            "example": "order-4711",
        }
    ]


def _responses(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": _success_headers(operation),
    }
    if operation.answer:
        success["content"] = {"application/json": {"schema": schemas.of(operation.answer, "serialization")}}
    responses = {str(operation.status): success}
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in _codes(operation):
        by_status[CODES[code][0]].append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = _refused(codes, schemas)
    return responses


def _codes(operation: Operation) -> list[str]:
    codes = [*operation.security.refusals, *operation.refusals, *_EVERYWHERE]
    codes += [operation.invalid] if operation.body or operation.query else []
    codes += _WITH_BODY if operation.body else []
    codes += _WITH_KEY if operation.is_idempotent else []
    codes += ["not_found"] if operation.parameters else []
    return list(dict.fromkeys(codes))


def _refused(codes: list[str], schemas: _Schemas) -> dict[str, Any]:
    examples = {code: {"value": orjson.loads(Refusal(code).problem().body)} for code in codes}
    content = {"schema": schemas.of(ProblemDocument, "serialization"), "examples": examples}
    refused: dict[str, Any] = {
        "description": "; ".join(f"`{code}`: {CODES[code][1]}" for code in codes),
        "content": {MEDIA_TYPE: content},
    }
    if any(code in RETRY_AFTER for code in codes):
        refused["headers"] = {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}}
    return refused


def _success_headers(operation: Operation) -> dict[str, Any]:
    headers = {"Request-Id": {"description": "Names this request in our logs", "schema": {"type": "string"}}}
    if operation.security is API_KEY:
        limits = {
            "RateLimit": "What is left of this key's quota, and seconds until all of it is back",
            "RateLimit-Policy": "The quota and its window in seconds",
        }
        shown = Allowance(99, 1).headers
        for name, description in limits.items():
            example = shown[name.lower()]
            headers[name] = {"description": description, "schema": {"type": "string"}, "example": example}
    return headers
