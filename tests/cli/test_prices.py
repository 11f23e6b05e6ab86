"""Rates and fees from the terminal."""

import json

import pytest
from click.testing import CliRunner, Result

from cli import ratchet
from tests.factories import an_integration

pytestmark = pytest.mark.usefixtures("database")


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, words)


def test_a_rate_is_set_and_listed_exactly_as_it_was_typed() -> None:
    assert run("rates", "set", "eur", "xof", "655.957", "--reason", "fixed").exit_code == 0
    assert run("rates", "set", "EUR", "USD", "1.0842", "--minutes", "5").exit_code == 0

    usd, xof = json.loads(run("rates", "list", "--json").stdout)

    assert (xof["source"], xof["target"], xof["rate"], xof["expires_at"]) == ("EUR", "XOF", "655.957", None)
    assert (usd["rate"], usd["expires_at"] is not None) == ("1.0842", True)
    assert xof["set_by"].startswith("cli:")
    assert "655.957" in run("rates", "list").output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["EUR", "USD", "much"], 2),
        (["EUR", "USD", "1e-2000000"], 1),
        (["EUR", "USD", "0"], 1),
        (["EUR", "ZZZ", "1"], 1),
        (["EUR", "USD", "nan"], 1),
        (["EUR", "USD", "1", "--minutes", "1e300"], 2),
        (["EUR", "USD", "1", "--minutes", "nan"], 2),
    ],
)
def test_nonsense_is_no_rate(words: list[str], code: int) -> None:
    assert run("rates", "set", *words).exit_code == code
    assert run("rates", "list").output == "no rates yet: `ratchet rates set`\n"


def test_a_fee_is_set_anew_and_listed() -> None:
    an_integration("zopay", slug="zopay-main")
    terms = ["--network", "tron", "--percent", "0.25", "--fixed", "1.5", "--seconds", "90"]

    assert run("fees", "set", "zopay-main", "usdt", *terms).exit_code == 0
    assert run("fees", "set", "zopay-main", "USDT", *terms[:4], "--seconds", "60").exit_code == 0

    (fee,) = json.loads(run("fees", "list", "--json").stdout)
    assert (fee["asset"], fee["network"], fee["percent"], fee["fixed"]) == ("USDT", "tron", "0.25", "0.000000")
    assert fee["estimated_seconds"] == 60


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nobody", "EUR", "--seconds", "1"], 1),
        (["main", "ZZZ", "--seconds", "1"], 2),
        (["main", "EUR", "--seconds", "0"], 2),
        (["main", "EUR", "--seconds", "9999999999"], 1),
        (["main", "EUR", "--seconds", "1", "--network", "Two Words"], 1),
        (["main", "EUR"], 2),
        (["main", "EUR", "--seconds", "1", "--fixed", "0.001"], 2),
        (["main", "EUR", "--seconds", "1", "--percent", "100"], 1),
        (["main", "EUR", "--seconds", "1", "--percent", "x"], 2),
    ],
)
def test_nonsense_is_no_fee(words: list[str], code: int) -> None:
    an_integration(slug="main")

    assert run("fees", "set", *words).exit_code == code
    assert run("fees", "list").output == "no fees yet: `ratchet fees set`\n"
