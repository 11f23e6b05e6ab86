"""Strict reading of what gateways write: a field has the type we expect, or the whole message is `UnreadableEvent`.

A verified message may still be wrong: a third decimal of EUR, a status that is a list, a NUL that PostgreSQL refuses.
Nothing here guesses. Errors name the field by its path and never quote its value.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, Never

import msgspec
import orjson

from connectors._base import UnreadableEvent, WebhookRequest
from models.lifecycle import PayoutStatus
from models.money import InvalidAmount, to_minor

MAX_TEXT: Final = 255
"""Characters of an id, a status word, a description. Longer is no id."""

MAX_PROSE: Final = 500
"""Characters kept of a message meant for people."""

MAX_KEY: Final = 200
"""Characters of an event key, so that it fits an index."""

MAX_DIGITS: Final = 28
"""Digits of an id that is written as a number."""


def document(body: bytes | str) -> Any:
    """Return the JSON value of `body`. A number with a fraction becomes a float, which no amount is ever read from."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnreadableEvent("the body is no JSON") from None


def exact_document(body: bytes) -> Any:
    """Return the JSON value of `body` with fractions as `Decimal`, for gateways that write amounts as numbers."""
    try:
        return _EXACT.decode(body)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError):  # arithmetic: `1e999999999999999999999`
        raise UnreadableEvent("the body is no JSON") from None


_EXACT: Final = msgspec.json.Decoder(float_hook=Decimal)
"""orjson knows fractions as floats only; the standard library takes twice as long."""


def digest_key(body: bytes) -> str:
    """Return the event key of a message that has no identity of its own: the same bytes are the same message."""
    return f"sha256:{sha256(body).hexdigest()}"


def event_key(request: WebhookRequest, *parts: object) -> str:
    """Return `parts` (texts or integers, the fields that identify the event) as one key of bounded length.

    Falls back to a digest of the body where a part is missing, is of another type, or does not fit.
    """
    for part in parts:
        if not isinstance(part, (str, int)) or part == "":
            return digest_key(request.body)
    key = ":".join([part if part.__class__ is str else str(part) for part in parts])
    return key if len(key) <= MAX_KEY and "\0" not in key else digest_key(request.body)


def status_of(word: str, statuses: Mapping[str, PayoutStatus]) -> PayoutStatus:
    """Return a gateway's status word in ours. A new word is for a person: it never fails a payout."""
    if word not in statuses:
        raise UnreadableEvent("status is a word we do not know")
    return statuses[word]


class Fields:  # noqa: PLW1641 (what it reads can change, so it has no hash)
    """One JSON object, read field by field. `path` is where it stands, for errors."""

    __slots__ = ("_path", "values")

    def __init__(self, values: Mapping[str, Any], path: "str | tuple[Fields, str]" = "") -> None:
        """`path` is a text, or the object around it and its field there: most paths are never asked for."""
        self.values = values
        self._path = path

    def __repr__(self) -> str:
        return f"Fields({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.values == other.values

    @classmethod
    def of(cls, value: object, path: str = "") -> "Fields":
        """Return `value` as fields. PHP writes an empty object as `[]`, so that is one too."""
        if value == []:
            return cls({}, path)
        if not isinstance(value, dict):
            raise UnreadableEvent(f"{path or 'the body'} is no object")
        return cls(value, path)

    @property
    def path(self) -> str:
        """Say where it stands: `data.attributes`."""
        path = self._path
        return path if isinstance(path, str) else path[0].at(path[1])

    def at(self, name: str) -> str:
        """Return the full path of field `name`."""
        return f"{self.path}.{name}" if self.path else name

    def within(self, name: str) -> "Fields":
        """Return the object in field `name`."""
        found = self.values.get(name)
        return Fields(found, (self, name)) if isinstance(found, dict) else Fields.of(found, self.at(name))

    def maybe_within(self, name: str) -> "Fields | None":
        """Return the object in field `name`, None where it is absent, null or empty."""
        return self.within(name) if self.values.get(name) else None

    def items(self, name: str) -> list["Fields"]:
        """Return the list of objects in field `name`."""
        found = self.values.get(name)
        if not isinstance(found, list):
            raise UnreadableEvent(f"{self.at(name)} is no list")
        return [Fields.of(item, f"{self.at(name)}[]") for item in found]

    def text(self, name: str) -> str:
        """Return the text of a field that must have one."""
        found = self.maybe_text(name)
        if found is None:
            raise UnreadableEvent(f"{self.at(name)} is missing")
        return found

    def maybe_text(self, name: str) -> str | None:
        """Return the text of a field, None where it is absent, null or empty."""
        found = self.values.get(name)
        if type(found) is str and 0 < len(found) <= MAX_TEXT and found.isascii() and "\0" not in found:
            return found  # nearly every field of nearly every message
        found = self.prose(name, keep=MAX_TEXT + 1)
        if found is not None and len(found) > MAX_TEXT:
            raise UnreadableEvent(f"{self.at(name)} is too long")
        return found

    def prose(self, name: str, keep: int = MAX_PROSE) -> str | None:
        """Return the first characters of a text for people, None where there is none."""
        found = self.values.get(name)
        if found is None or found == "":
            return None
        if not isinstance(found, str) or not _is_storable(found[:keep]):
            raise UnreadableEvent(f"{self.at(name)} is no text")
        return found[:keep]

    def identifier(self, name: str) -> str | None:
        """Return an id, which some gateways write as an integer, as text."""
        found = self.values.get(name)
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found) if 0 <= found < 10**MAX_DIGITS else self._refuse(name, "no id")
        return self.maybe_text(name)

    def reference(self, name: str) -> str:
        """Return an id that must be there."""
        found = self.identifier(name)
        return self._refuse(name, "missing") if found is None else found

    def amount(self, name: str, currency: str | None) -> int | None:
        """Return an amount in major units (text, integer or `Decimal`) in minor units, None where there is none."""
        found = self.values.get(name)
        if found is None:
            return None
        try:
            return to_minor(found, currency or "")
        except InvalidAmount:
            self._refuse(name, "no amount")

    def costs(self, currency: str | None, **names: str) -> dict[str, int]:
        """Return what `names` (of `COSTS`, each with its field here) hold. One that cannot be read is left out.

        They inform and decide nothing: a fee in a form that we do not know must not hold up a status.
        """
        found = {}
        for cost, name in names.items():
            try:
                minor = self.amount(name, currency)
            except UnreadableEvent:
                continue
            if minor is not None:
                found[cost] = minor
        return found

    def moment(self, name: str) -> datetime | None:
        """Return a time, aware and in UTC: ISO 8601 (UTC where it has no offset) or whole unix seconds."""
        found = self.values.get(name)
        if found is None or found == "":
            return None
        try:
            if isinstance(found, int) and not isinstance(found, bool):
                return datetime.fromtimestamp(found, UTC)
            moment = datetime.fromisoformat(found)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            self._refuse(name, "no time")

    def _refuse(self, name: str, what: str) -> Never:
        raise UnreadableEvent(f"{self.at(name)} is {what}")


def _is_storable(text: str) -> bool:
    """PostgreSQL refuses NUL; a lone surrogate, which JSON escapes can smuggle in, is no UTF-8."""
    if "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
