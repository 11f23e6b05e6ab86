from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time

import settings
from models import sealed
from models.integration import Integration, IntegrationSecrets
from models.sealed import CannotOpen, new_key, seal, unseal
from settings import InvalidSettings

SealWith = Callable[..., None]

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)


@pytest.fixture
def seal_with(monkeypatch: pytest.MonkeyPatch) -> SealWith:
    """Give a way to restart with other keys, newest first."""

    def restart(*keys: str) -> None:
        told = replace(settings.settings(), secret_keys=keys)
        monkeypatch.setattr(sealed, "settings", lambda: told)

    return restart


@pytest.mark.parametrize("value", [["whsec_1"], {"a": {"b": "ключ"}}, "", None, 7])
def test_what_was_sealed_opens(value: object) -> None:
    assert unseal(seal(value)) == value


def test_what_is_sealed_cannot_be_read_and_never_looks_the_same() -> None:
    first, second = seal("a-planted-secret"), seal("a-planted-secret")

    assert b"planted" not in first
    assert first != second


def test_after_a_rotation_the_old_key_still_opens(seal_with: SealWith) -> None:
    oldest, older, newest = new_key(), new_key(), new_key()
    seal_with(oldest)
    under_oldest = seal("first")
    seal_with(older, oldest)
    under_older = seal("second")

    seal_with(newest, older, oldest)

    assert unseal(under_oldest) == "first"
    assert unseal(under_older) == "second"


def test_the_newest_key_seals(seal_with: SealWith) -> None:
    old, new = new_key(), new_key()
    seal_with(new, old)
    made_now = seal("value")

    seal_with(new)

    assert unseal(made_now) == "value"


def test_a_key_that_was_retired_opens_nothing(seal_with: SealWith) -> None:
    old, new = new_key(), new_key()
    seal_with(old)
    made_before = seal("a-planted-secret")
    seal_with(new)

    with pytest.raises(CannotOpen) as refused:
        unseal(made_before)

    assert "RATCHET_SECRET_KEYS" in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("damaged", [b"", b"no token", b"gAAAAA", bytes(100)])
def test_what_is_damaged_does_not_open(damaged: bytes) -> None:
    with pytest.raises(CannotOpen):
        unseal(damaged)


def test_one_flipped_bit_does_not_open() -> None:
    token = seal("value")
    flipped = token[:40] + bytes([token[40] ^ 1]) + token[41:]

    with pytest.raises(CannotOpen):
        unseal(flipped)


def test_what_may_not_be_old_does_not_open_when_it_is() -> None:
    with freeze_time(NOW):
        token = seal("value")

    with freeze_time(NOW + timedelta(seconds=60)):
        assert unseal(token, max_age_seconds=60) == "value"
    with freeze_time(NOW + timedelta(seconds=61)), pytest.raises(CannotOpen):
        unseal(token, max_age_seconds=60)


@pytest.mark.parametrize("keys", [(), ("a-planted-key",), ("AAAA",), (new_key(), "ключ")])
def test_unusable_keys_are_refused_without_being_told(seal_with: SealWith, keys: tuple[str, ...]) -> None:
    seal_with(*keys)

    with pytest.raises(InvalidSettings, match="RATCHET_SECRET_KEYS must hold") as refused:
        seal("value")

    assert not any(key in str(refused.value) for key in keys)


@pytest.mark.parametrize(("secrets", "has_one"), [((), False), (("",), False), (("  ",), False), (("", "s"), True)])
def test_an_integration_knows_without_opening_whether_it_has_a_webhook_secret(
    *, secrets: tuple[str, ...], has_one: bool
) -> None:
    integration = Integration(slug="a", connector="paycore", sealed=b"", has_webhook_secret=not has_one)

    integration.keep(IntegrationSecrets(secrets, {"api_key": "k"}))

    assert integration.has_webhook_secret is has_one
    assert integration.secrets() == IntegrationSecrets(secrets, {"api_key": "k"})
