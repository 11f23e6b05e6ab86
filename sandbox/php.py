"""JSON as PHP writes it, byte for byte: who verifies a signature over re-written JSON must fail on it."""

import json
import re
import secrets
from decimal import Decimal
from typing import Any, Final

from sandbox.answers import Document

_NUMBER_MARK: Final = secrets.token_hex(8)
"""Stands around a decimal on its way through `json`, which has no exact numbers; unguessable, so never in a text."""
_MARKED_NUMBER: Final = re.compile(f'"{_NUMBER_MARK}([^"]*)"')


def as_php(document: Document) -> bytes:
    """Write JSON as PHP does: escaped slashes, `[]` for an empty object, no spaces; decimals stay exact."""
    text = json.dumps(_emptied(document), separators=(",", ":"), default=_mark)
    return _MARKED_NUMBER.sub(r"\1", text.replace("/", "\\/")).encode()


def _emptied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _emptied(item) for key, item in value.items()} or []
    return [_emptied(item) for item in value] if isinstance(value, list) else value


def _mark(value: Any) -> str:
    if not isinstance(value, Decimal):
        raise TypeError(type(value).__name__)
    return f"{_NUMBER_MARK}{value.normalize():f}"
