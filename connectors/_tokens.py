"""Bearer tokens that a login gives, kept as long as the way out that they were given to.

A connector holds no state and has no clock, and a new one is made for every batch of work: kept in it, a token would
cost a login for each batch. So the tokens hang on the `Http` and die with it, in memory only. Nobody counts how long
they live either: a token is good until the gateway refuses it, which is true whatever `expires_in` said.
"""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from weakref import WeakKeyDictionary

from connectors._base import Http


class Tokens:
    """The tokens of one way out, by account."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def get(self, account: str, login: Callable[[], Awaitable[str]]) -> str:
        """Return the account's token. Many calls that begin together without one share a single login."""
        async with self._turns.setdefault(account, asyncio.Lock()):
            if account not in self._kept:
                self._kept[account] = await login()
            return self._kept[account]

    def forget(self, account: str, token: str) -> None:
        """Drop a refused token, unless a newer one has taken its place already."""
        if self._kept.get(account) == token:
            del self._kept[account]


_BY_WAY_OUT: WeakKeyDictionary[Http, Tokens] = WeakKeyDictionary()


def tokens_of(http: Http) -> Tokens:
    """Return the tokens of this way out."""
    return _BY_WAY_OUT.setdefault(http, Tokens())


def account_key(*parts: str) -> str:
    """Return a key for an account that changes with its password and does not tell it."""
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
