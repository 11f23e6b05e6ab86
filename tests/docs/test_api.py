"""Every command of docs/api.md, run as it stands there against a running door."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest

import settings
from cli import ratchet
from models.api_key import Scope
from receiver.app import partners
from tests.factories import an_integration
from tests.receiver.doors import Door, a_server
from tests.receiver.partners.partner import a_key
from tests.servers import PROJECT

PAGE: Final = (PROJECT / "docs" / "api.md").read_text()
EXAMPLES: Final = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)

needs_curl: Final = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")


@pytest.fixture
def door(database: None) -> Iterator[Door]:
    with a_server(partners()) as running:
        yield running


def run(example: str, **variables: str) -> list[Any]:
    """Run one example; return the JSON documents that its commands print."""
    environment = {"PATH": settings.inherited()["PATH"], **variables}
    ended = subprocess.run(["/bin/bash", "-ec", example], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    decoder, rest, documents = json.JSONDecoder(), ended.stdout.strip(), []
    while rest:
        document, end = decoder.raw_decode(rest)
        documents.append(document)
        rest = rest[end:].strip()
    return documents


@needs_curl
def test_the_examples_work_as_they_stand(door: Door) -> None:
    an_integration("fedapay")
    variables = {"RATCHET": door.url(""), "KEY": a_key().key}
    create, follow, cancel = EXAMPLES

    (created,) = run(create, **variables)
    (again,) = run(create, **variables)
    listed, shown, events = run(follow, **variables, PAYOUT=created["id"])
    (canceled,) = run(cancel, **variables, PAYOUT=created["id"])

    assert again == created
    assert [payout["id"] for payout in listed["data"]] == [created["id"]]
    assert shown == created
    assert [event["type"] for event in events["data"]] == ["payout.pending"]
    assert canceled["status"] == "canceled"


def test_every_command_of_the_page_is_a_command() -> None:
    named = re.findall(r"^\$ ratchet (\w+) (\w+)", PAGE, re.MULTILINE)

    assert len(named) >= 4
    for group, command in named:
        assert command in ratchet.commands[group].commands  # type: ignore[attr-defined]


def test_every_scope_and_every_gateway_that_pays_is_named() -> None:
    assert {scope for scope in Scope if f"`{scope}`" not in PAGE} == set()
    assert all(name in PAGE for name in ("FedaPay", "PayCore", "BridgerPay", "ZoPay", "Mollie"))
