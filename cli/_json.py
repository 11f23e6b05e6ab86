"""`--details`: a JSON object in the gateway's own words, as it can be sealed."""

import json
from typing import Any, Final

import click
import orjson


class _JsonObject(click.ParamType[dict[str, Any]]):
    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        try:
            read = json.loads(value)
            orjson.dumps(read)
        except json.JSONDecodeError as error:
            self.fail(f"not JSON: {error.msg}", param, ctx)
        except (TypeError, RecursionError):
            self.fail(
                "a number of more than 64 bits, half a character, or too deep: write it as plain text", param, ctx
            )
        if not isinstance(read, dict):
            self.fail("must be a JSON object", param, ctx)
        return read


JSON_OBJECT: Final = _JsonObject()
