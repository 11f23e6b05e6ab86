"""Operators' passwords: kept as scrypt hashes (RFC 7914), compared at one cost whether or not the name is known."""

import hmac
import os
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from sqlmodel import Session, col, select

from models.organisation import Operator

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1_024
LONGEST_NAME: Final = 64

_COST: Final = (2**14, 8, 1)
"""n, r, p: 16 MiB and some tens of milliseconds. Written into every hash, so that it can rise later."""
_LENGTH: Final = 32
_SALT_LENGTH: Final = 16


class WeakPassword(ValueError):
    """The name or the password may not be used; the text says why."""


def hash_password(password: str) -> bytes:
    """Return `scrypt$n$r$p$salt$key`, with a salt of its own."""
    salt = os.urandom(_SALT_LENGTH)
    n, r, p = _COST
    return f"scrypt${n}${r}${p}${salt.hex()}${_derive(password, salt, n, r, p).hex()}".encode()


def password_matches(password: str, password_hash: bytes | None) -> bool:
    """Tell whether `password` was hashed to `password_hash`. None, an unknown operator, costs as much and is False."""
    if password_hash is None:
        _derive(password, bytes(_SALT_LENGTH), *_COST)
        return False
    _, n, r, p, salt, key = password_hash.decode().split("$")
    return hmac.compare_digest(_derive(password, bytes.fromhex(salt), int(n), int(r), int(p)), bytes.fromhex(key))


def add_operator(session: Session, name: str, password: str, now: datetime) -> None:
    """Let `name` sign in, or give them a new password. Raises `WeakPassword`."""
    if not name.strip() or not name.isprintable() or ":" in name or len(name) > LONGEST_NAME:
        raise WeakPassword(f"a name has 1 to {LONGEST_NAME} printable characters and no colon")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise WeakPassword(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    operator = session.get(Operator, name) or Operator(name=name, password_hash=b"", created_at=now)
    operator.password_hash = hash_password(password)
    session.add(operator)


def password_hash_of(session: Session, name: str) -> bytes | None:
    """Return what is kept for `name`, or None for somebody we do not know."""
    if not name.isprintable():  # PostgreSQL's text holds no NUL, and no operator has such a name
        return None
    return session.exec(select(Operator.password_hash).where(col(Operator.name) == name)).one_or_none()


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=_LENGTH, n=n, r=r, p=p).derive(password.encode("utf-8", "surrogatepass"))
