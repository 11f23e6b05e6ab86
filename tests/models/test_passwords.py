from datetime import UTC, datetime

import pytest

from models import passwords
from models.database import transaction
from models.passwords import WeakPassword, add_operator, hash_password, password_hash_of, password_matches

RIGHT = "correct horse battery"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def add(name: str, password: str) -> None:
    with transaction() as session:
        add_operator(session, name, password, NOW)


def kept(name: str) -> bytes | None:
    with transaction() as session:
        return password_hash_of(session, name)


def test_only_the_right_password_matches() -> None:
    kept = hash_password(RIGHT)

    assert password_matches(RIGHT, kept)
    assert not password_matches(RIGHT + " ", kept)
    assert not password_matches("", kept)


def test_the_same_password_is_never_kept_the_same_way() -> None:
    assert hash_password(RIGHT) != hash_password(RIGHT)


def test_nobody_has_a_password_that_matches_at_the_same_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = []
    derive = passwords._derive
    monkeypatch.setattr(passwords, "_derive", lambda *call: costs.append(call[2:]) or derive(*call))

    assert not password_matches(RIGHT, None)
    assert not password_matches("wrong", hash_password(RIGHT))

    assert costs == [(2**14, 8, 1)] * 3


def test_any_text_may_be_tried() -> None:
    assert not password_matches("\ud800\x00", hash_password(RIGHT))


@pytest.mark.usefixtures("database")
def test_an_operator_is_added_and_may_get_a_new_password() -> None:
    add("maria", RIGHT)
    add("maria", "another long password")

    assert password_matches("another long password", kept("maria"))
    assert not password_matches(RIGHT, kept("maria"))


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", ["", "nobody", "\x00", "a\nb"])
def test_nothing_is_kept_for_strangers(name: str) -> None:
    assert kept(name) is None


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("maria", "x" * 11),
        ("maria", "x" * 1025),
        *((name, RIGHT) for name in ("", " ", "a:b", "a\x00", "n" * 65)),
    ],
)
def test_a_short_password_or_an_unusable_name_is_refused(name: str, password: str) -> None:
    with pytest.raises(WeakPassword):
        add(name, password)

    assert kept("maria") is None
