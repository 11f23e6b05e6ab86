"""Secrets at rest: sealed with Fernet under the installation's keys, opened only where they are used."""

import json
from functools import cache
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from settings import InvalidSettings, settings


class CannotOpen(RuntimeError):
    """A sealed value was made with a key that RATCHET_SECRET_KEYS no longer holds."""


def _keys() -> MultiFernet:
    return _opened(settings().secret_keys)


@cache
def _opened(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise InvalidSettings(
            "RATCHET_SECRET_KEYS must hold url-safe base64 keys of 32 bytes, comma separated"
        ) from None


def new_key() -> str:
    """Return a fresh key for RATCHET_SECRET_KEYS."""
    return Fernet.generate_key().decode()


def seal(value: Any) -> bytes:
    """Return a JSON value sealed under the newest key."""
    return _keys().encrypt(orjson.dumps(value))


def unseal(sealed: bytes, *, max_age_seconds: int | None = None) -> Any:
    """Return what was sealed. Raises `CannotOpen` when no key fits, or when it is older than `max_age_seconds`."""
    try:
        return json.loads(_keys().decrypt(sealed, ttl=max_age_seconds))
    except InvalidToken:
        raise CannotOpen("sealed with an unknown key, damaged, or too old; see RATCHET_SECRET_KEYS") from None
