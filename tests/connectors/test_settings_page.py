"""docs/gateway-settings.md names every option of every connector with its default, and nothing else."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

import connectors
from connectors._base import Connector
from tests.servers import PROJECT

ROW = re.compile(r"\| (\w+) \| `(\w+)` \| (?:`([^`]*)`)? ?\| (A?) ?\|")
PAGE = (PROJECT / "docs" / "gateway-settings.md").read_text()
ROWS = [row.groups("") for row in map(ROW.match, PAGE.splitlines()) if row]


def written(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, Mapping):
        return ",".join(f"{status}={hours:g}" for status, hours in default.items())
    return ",".join(default) if isinstance(default, tuple) else str(default)


@pytest.mark.parametrize("name", connectors.NAMES)
def test_the_page_has_every_option_of_a_connector_with_its_default(name: str) -> None:
    told = {option: default for connector, option, default, _ in ROWS if connector == name}
    connector = connectors.connector_class(name)
    has = {option: written(default) for option, default in connector.options().items()}
    if connector.SILENCE is Connector.SILENCE:
        assert f"has `{has.pop('silence_hours')}`." in PAGE

    assert told == has


def test_the_page_tells_of_no_other_connector_and_of_no_option_twice() -> None:
    assert {connector for connector, *_ in ROWS} <= set(connectors.NAMES)
    assert len({row[:2] for row in ROWS}) == len(ROWS)
