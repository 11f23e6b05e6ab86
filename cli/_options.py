"""`--option NAME=VALUE`: what an integration may override of its connector, read in the type of its default."""

from collections.abc import Mapping
from typing import Any, Final

import click

from connectors import connector_class
from payouts.silence import is_a_duration

HINT: Final = "--option"
MAY_BE_NONE: Final = frozenset({"tolerance_seconds", "lookback_days"})
"""Bounds that an integration may do without: `none` enforces nothing."""
YES: Final = frozenset({"1", "true", "yes"})
NO: Final = frozenset({"0", "false", "no"})


def parse_options(connector: str, written: tuple[str, ...]) -> dict[str, Any]:
    """Return the options in the types that the connector expects. Raises `click.BadParameter`."""
    defaults = connector_class(connector).options()
    return {name: _value(name, text, defaults) for name, text in map(_pair, written) if _is_known(name, defaults)}


def _pair(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not (name and equals):
        raise click.BadParameter("write NAME=VALUE", param_hint=HINT)
    return name, value.strip()


def _is_known(name: str, defaults: Mapping[str, Any]) -> bool:
    if name not in defaults:
        raise click.BadParameter(f"no option {name}; there are: {', '.join(defaults) or 'none'}", param_hint=HINT)
    return True


def _value(name: str, text: str, defaults: Mapping[str, Any]) -> Any:
    default = defaults[name]
    if isinstance(default, bool):
        return _flag(name, text)
    if isinstance(default, Mapping):
        return _hours(name, text, default)
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    if not isinstance(default, int):
        return text
    if text.lower() == "none" and name in MAY_BE_NONE:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise click.BadParameter(f"{name} wants a whole number above zero", param_hint=HINT)
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text.lower() not in YES | NO:
        raise click.BadParameter(f"{name} wants yes or no", param_hint=HINT)
    return text.lower() in YES


def _hours(name: str, text: str, defaults: Mapping[str, float]) -> dict[str, float]:
    try:
        hours = {
            status.strip(): float(number) for status, _, number in (part.partition("=") for part in text.split(","))
        }
    except ValueError:
        hours = {}
    if not hours or not all(status in defaults and is_a_duration(number) for status, number in hours.items()):
        raise click.BadParameter(
            f"{name} wants hours for any of {', '.join(defaults)}, like pending=12,broadcast=36.5", param_hint=HINT
        )
    return hours
