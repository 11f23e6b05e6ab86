"""Where the doors of the service that runs on this machine are found from here."""

from typing import Final

from settings import settings

EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing is bound here)
"""Addresses that are listened on and cannot be dialled, and what is dialled instead."""


def near(port: int) -> str:
    """Return `host:port` of a door, as a URL has it: the address of `RATCHET_BIND`, or loopback if that is all."""
    bind = settings().bind
    host = EVERYWHERE.get(bind, bind)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
