"""Request bodies: bounded, and JSON that every reader understands alike (I-JSON, RFC 7493).

What two readers could take for two things is refused: names given twice, numbers that a double cannot hold, NaN,
halves of surrogate pairs. A signature or an idempotency check over such a body would mean nothing.
"""

import json
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request

from receiver.partners.refusals import Refusal

LARGEST_BODY: Final = 64 * 1024
LARGEST_DEPTH: Final = 32
LONGEST_NUMBER: Final = 32
_JSON: Final = "application/json"


async def read_body(request: Request) -> bytes:
    """Return the whole body. Raises `Refusal`. How slowly it may come is bounded by the protocol."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:9]) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise _too_large()
    except ClientDisconnect:
        raise Refusal("malformed_json", "the body ended before its end") from None
    return bytes(body)


def check_media_type(request: Request) -> None:
    """Refuse a body that does not say that it is JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON:
        raise Refusal("not_json", f"the body is {media_type or 'of no stated type'}; send {_JSON}")


def canonical(body: bytes) -> bytes:
    """Return the same JSON value written in one way only. Raises `Refusal`."""
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_once_each,
            parse_constant=_no_constant,
            parse_int=_number(int),
            parse_float=_number(float),
        )
        _check_depth(value)
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except UnicodeDecodeError:
        raise Refusal("malformed_json", "the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refusal("malformed_json", f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise Refusal("malformed_json", _TOO_DEEP) from None
    except (orjson.JSONEncodeError, ValueError) as error:
        raise Refusal("malformed_json", _plain(error)) from None


_TOO_DEEP: Final = f"nested deeper than {LARGEST_DEPTH} levels"


class _NotOnce(ValueError):
    """The text may be shown: it is ours."""


def _plain(error: Exception) -> str:
    if isinstance(error, _NotOnce):
        return str(error)
    return "a text holds half of a surrogate pair, or a number is larger than 64 bits"


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotOnce("an object names a member twice")
    return members


def _no_constant(name: str) -> None:
    raise _NotOnce(f"{name} is not JSON")


def _number(kind: Any) -> Any:
    def read(text: str) -> Any:
        if len(text) > LONGEST_NUMBER:
            raise _NotOnce(f"a number has more than {LONGEST_NUMBER} characters")
        value = kind(text)
        if value in (float("inf"), float("-inf")):
            raise _NotOnce("a number is too large")
        return value

    return read


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > LARGEST_DEPTH:
            raise _NotOnce(_TOO_DEEP)
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
        ]


def _too_large() -> Refusal:
    return Refusal("body_too_large", f"a body has at most {LARGEST_BODY // 1024} KiB")
