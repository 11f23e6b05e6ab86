from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from models.money import ASSET_EXPONENTS, MAX_AMOUNT_MINOR, InvalidAmount, exponent, to_minor, to_text
from tests.laws import IN_MEMORY

WITH_MINOR_UNIT = sorted([*(c.code for c in Currency if c.exponent is not None), *ASSET_EXPONENTS])
WITHOUT_MINOR_UNIT = sorted(c.code for c in Currency if c.exponent is None)

CURRENCIES = st.sampled_from(WITH_MINOR_UNIT)
AMOUNTS = st.integers(0, MAX_AMOUNT_MINOR)


@pytest.mark.parametrize("currency", WITH_MINOR_UNIT)
def test_every_currency_reads_back_what_it_wrote(currency: str) -> None:
    edges = [0, 1, 9, 10, 99, 100, 101, 123_456_789, MAX_AMOUNT_MINOR - 1, MAX_AMOUNT_MINOR]

    assert [to_minor(to_text(minor, currency), currency) for minor in edges] == edges


@IN_MEMORY
@given(AMOUNTS, CURRENCIES)
def test_any_amount_of_any_currency_survives_the_round_trip(amount_minor: int, currency: str) -> None:
    text = to_text(amount_minor, currency)

    assert to_minor(text, currency) == amount_minor
    assert to_minor(Decimal(text), currency) == amount_minor
    assert len(text.partition(".")[2]) == exponent(currency)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (250_000, "EUR", "2500.00"),
        (2_000, "XOF", "2000"),
        (5, "USD", "0.05"),
        (1_234, "KWD", "1.234"),
        (1, "USDT", "0.000001"),
        (0, "JPY", "0"),
        (10**18, "EUR", "10000000000000000.00"),
    ],
)
def test_amounts_are_written_with_the_decimals_of_their_currency(amount_minor: int, currency: str, text: str) -> None:
    assert to_text(amount_minor, currency) == text
    assert to_minor(text, currency) == amount_minor


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (-1, "EUR", "-0.01"),
        (-10, "EUR", "-0.10"),
        (-250_000, "EUR", "-2500.00"),
        (-1, "JPY", "-1"),
        (-1, "USDC", "-0.000001"),
    ],
)
def test_what_has_left_a_balance_is_written_with_its_sign(amount_minor: int, currency: str, text: str) -> None:
    assert to_text(amount_minor, currency) == text


@pytest.mark.parametrize("amount", ["2500", "2500.0", "2500.00", "002500.00", 2500, Decimal("2.5E+3")])
def test_one_amount_may_be_written_in_several_plain_ways(amount: str | int | Decimal) -> None:
    assert to_minor(amount, "EUR") == 250_000


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", " 1", "1 ", "1\n", "+1", "-1", "-0", "1.", ".5", "1.2.3", "1,5", "1_000", "1'000", "1e3", "1E3"),
        *("NaN", "nan", "Infinity", "-inf", "0x10", "١٢", "１", "²", "1\u200b", "one", "EUR 1", "1" * 41),  # noqa: RUF001
    ],
)
def test_what_python_might_read_as_a_number_is_still_no_amount(text: str) -> None:
    with pytest.raises(InvalidAmount):
        to_minor(text, "EUR")


@pytest.mark.parametrize("amount", [1.0, 1.5, 0.1, float("nan"), float("inf"), 10.0**15, True, False, None, b"1", [1]])
def test_nothing_but_text_integers_and_decimals_is_an_amount(amount: Any) -> None:
    with pytest.raises(InvalidAmount):
        to_minor(amount, "EUR")


@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal(-1), -1])
def test_a_decimal_that_is_no_amount_is_refused(amount: Decimal | int) -> None:
    with pytest.raises(InvalidAmount):
        to_minor(amount, "EUR")


@pytest.mark.parametrize("amount", [10**4000, Decimal("1E+999999"), Decimal("1E-999999"), "9" * 40, 10**16 + 1])
def test_an_absurd_amount_is_refused_and_quickly(amount: Decimal | int | str) -> None:
    with pytest.raises(InvalidAmount):
        to_minor(amount, "EUR")


@pytest.mark.parametrize(
    ("text", "currency"), [("1.001", "EUR"), ("1.5", "XOF"), ("0.0000001", "USDC"), ("1.0", "JPY")]
)
def test_a_digit_too_many_is_refused_unless_it_is_zero(text: str, currency: str) -> None:
    if set(text.partition(".")[2]) == {"0"}:
        assert to_minor(text, currency) == 1
    else:
        with pytest.raises(InvalidAmount):
            to_minor(text, currency)


@pytest.mark.parametrize("currency", ["", "eur", "978", "Euro", "EUR ", "EURO", "ZZZ", "E\0R", "X" * 9_999, "usdt"])
def test_a_code_that_nobody_defines_is_refused_in_few_words(currency: str) -> None:
    with pytest.raises(InvalidAmount) as refused:
        to_minor("1", currency)

    assert len(str(refused.value)) < 60


@pytest.mark.parametrize("currency", WITHOUT_MINOR_UNIT)
def test_what_has_no_minor_unit_has_no_amounts(currency: str) -> None:
    with pytest.raises(InvalidAmount, match="no minor unit"):
        to_minor("1", currency)


@IN_MEMORY
@given(st.text(max_size=30) | st.from_regex(r"[-+]?[0-9]{0,20}[.,eE]?[0-9]{0,12}"), CURRENCIES)
def test_any_text_is_either_held_exactly_or_refused(text: str, currency: str) -> None:
    try:
        amount_minor = to_minor(text, currency)
    except InvalidAmount:
        return

    assert 0 <= amount_minor <= MAX_AMOUNT_MINOR
    assert Decimal(to_text(amount_minor, currency)) == Decimal(text)
