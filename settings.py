"""The only reader of the environment. Everything that differs between two installations is one field here."""

import ipaddress
import math
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url

_Number = TypeVar("_Number", int, float)

SHORTEST_SECRET: Final = 24

SCHEMES: Final = ("postgresql://", "postgres://", "postgresql+psycopg://")


class InvalidSettings(ValueError):
    """A variable is missing or unusable; the text says which and how to mend it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What this installation was told. Read once per process by `settings()`."""

    database_url: str = field(repr=False)
    """`DATABASE_URL`, as libpq writes it."""
    redis_url: str = field(repr=False)
    """`REDIS_URL`: redis://, rediss:// or unix://."""
    secret_keys: tuple[str, ...] = field(repr=False)
    """`RATCHET_SECRET_KEYS`: Fernet keys, comma separated, newest first. The first seals, all of them open."""
    home: Path
    """`RATCHET_HOME` (.ratchet): embedded servers, made keys, metrics files."""
    receiver_port: int
    """`RATCHET_RECEIVER_PORT` (8400): the gateways' door."""
    operators_port: int
    """`RATCHET_OPERATORS_PORT` (8401): the operators' door."""
    partners_port: int
    """`RATCHET_PARTNERS_PORT` (8402): the partners' door."""
    bind: str
    """`RATCHET_BIND` (127.0.0.1): the address the doors listen on."""
    public_url: str
    """`RATCHET_PUBLIC_URL` (http://127.0.0.1:8402): where the world finds the partners' door, without a final slash."""
    requests_per_second: float
    """`RATCHET_REQUESTS_PER_SECOND` (50): of one API key, over all processes."""
    internal_secrets: tuple[str, ...] = field(repr=False)
    """`RATCHET_INTERNAL_SECRETS` (none): what the internal caller shows in `X-Internal-Secret`, comma separated while
    rotating. Without one the internal API is closed."""
    private_endpoints: bool
    """`RATCHET_PRIVATE_ENDPOINTS` (0): 1 lets endpoints be on loopback and private addresses, over http and at any
    port. Development only."""
    private_networks: tuple[str, ...]
    """`RATCHET_PRIVATE_NETWORKS` (none): the same for these networks, comma separated: `10.20.0.0/16,fd00:1::/64`."""
    endpoint_ports: tuple[int, ...]
    """`RATCHET_ENDPOINT_PORTS` (443,8443): where endpoints may listen."""
    poll_unit_seconds: float
    """`RATCHET_POLL_UNIT_SECONDS` (60): what the poll schedules count in. The demo shortens it."""
    polls_per_second: int
    """`RATCHET_POLLS_PER_SECOND` (5): per integration."""
    retry_scale: float
    """`RATCHET_RETRY_SCALE` (1): multiplies the partners' retry schedule. Tests shorten it."""
    keep_attempts_days: float
    """`RATCHET_KEEP_ATTEMPTS_DAYS` (30): how long each attempt is on record; 0 for ever."""
    keep_deliveries_days: float
    """`RATCHET_KEEP_DELIVERIES_DAYS` (90): how long closed deliveries and the bodies of events are; 0 for ever."""
    smtp_url: str = field(repr=False)
    """`RATCHET_SMTP_URL` (none): who takes our letters about endpoints that were switched off, as
    `smtp://user:password@host:587` or `smtps://…:465`. Without it nobody is written to."""
    mail_from: str
    """`RATCHET_MAIL_FROM` (ratchet@localhost): the sender of those letters."""
    mail_to: str
    """`RATCHET_MAIL_TO` (none): who runs this installation, and gets a copy of each."""
    log_level: str
    """`RATCHET_LOG_LEVEL` (info)."""
    secure_cookies: bool
    """`RATCHET_SECURE_COOKIES` (1): 0 only where operators sign in over plain http on loopback."""


def _required(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise InvalidSettings(f"{name} is not set; set it, or start with `ratchet up`, which brings its own servers")
    return value


def _number(name: str, default: _Number) -> _Number:
    text = os.environ.get(name, "")
    try:
        value = type(default)(text) if text else default
    except ValueError:
        raise InvalidSettings(f"{name} must be a number") from None
    if not 0 <= value < math.inf:  # a NaN is neither
        raise InvalidSettings(f"{name} must not be negative, and must be finite")
    return value


def _flag(name: str, *, default: bool) -> bool:
    text = os.environ.get(name, "1" if default else "0").strip().lower()
    if text not in {"0", "1", "true", "false", "yes", "no"}:
        raise InvalidSettings(f"{name} must be 1 or 0")
    return text in {"1", "true", "yes"}


def _list(name: str, default: str = "") -> tuple[str, ...]:
    return tuple(part.strip() for part in os.environ.get(name, default).split(",") if part.strip())


def _secrets(name: str) -> tuple[str, ...]:
    secrets = _list(name)
    if any(len(secret) < SHORTEST_SECRET for secret in secrets):
        raise InvalidSettings(f"{name}: each must have at least {SHORTEST_SECRET} characters")
    return secrets


def _ports(name: str, default: str) -> tuple[int, ...]:
    parts = _list(name, default)
    if not all(part.isdecimal() and 0 < int(part) < 65536 for part in parts):  # noqa: PLR2004 (ports)
        raise InvalidSettings(f"{name} must be ports, comma separated")
    return tuple(int(part) for part in parts)


def _networks(name: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(part)) for part in _list(name))
    except ValueError:
        raise InvalidSettings(f"{name} must be networks like 10.20.0.0/16, comma separated") from None


def _smtp_url() -> str:
    url = os.environ.get("RATCHET_SMTP_URL", "").strip()
    if url and (not url.startswith(("smtp://", "smtps://")) or not urlsplit(url).hostname):
        raise InvalidSettings("RATCHET_SMTP_URL must be like smtp://user:password@host:587 or smtps://host:465")
    return url


def _database_url() -> str:
    given = _required("DATABASE_URL")
    if not given.startswith(SCHEMES):
        raise InvalidSettings("DATABASE_URL must start with postgresql://; Ratchet runs on PostgreSQL only")
    url = "postgresql://" + given.split("://", 1)[1]
    try:
        conninfo_to_dict(url)
        _ = urlsplit(url).port  # libpq takes several, SQLAlchemy only a number
    except (ProgrammingError, ValueError):
        raise InvalidSettings("DATABASE_URL must be like postgresql://user:password@host:5432/name") from None
    return url


def _redis_url() -> str:
    url = _required("REDIS_URL")
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        raise InvalidSettings("REDIS_URL must be like redis://host:6379/0, rediss://… or unix:///path") from None
    return url


@cache
def settings() -> Settings:
    """Read the environment once. Raises `InvalidSettings`."""
    partners_port = _number("RATCHET_PARTNERS_PORT", 8402)
    return Settings(
        database_url=_database_url(),
        redis_url=_redis_url(),
        secret_keys=tuple(key.strip() for key in _required("RATCHET_SECRET_KEYS").split(",") if key.strip()),
        home=home(),
        receiver_port=_number("RATCHET_RECEIVER_PORT", 8400),
        operators_port=_number("RATCHET_OPERATORS_PORT", 8401),
        partners_port=partners_port,
        public_url=os.environ.get("RATCHET_PUBLIC_URL", "").rstrip("/") or f"http://127.0.0.1:{partners_port}",
        requests_per_second=_number("RATCHET_REQUESTS_PER_SECOND", 50.0),
        bind=os.environ.get("RATCHET_BIND", "127.0.0.1"),
        internal_secrets=_secrets("RATCHET_INTERNAL_SECRETS"),
        private_endpoints=_flag("RATCHET_PRIVATE_ENDPOINTS", default=False),
        private_networks=_networks("RATCHET_PRIVATE_NETWORKS"),
        endpoint_ports=_ports("RATCHET_ENDPOINT_PORTS", "443,8443"),
        poll_unit_seconds=_number("RATCHET_POLL_UNIT_SECONDS", 60.0),
        polls_per_second=_number("RATCHET_POLLS_PER_SECOND", 5),
        retry_scale=_number("RATCHET_RETRY_SCALE", 1.0),
        keep_attempts_days=_number("RATCHET_KEEP_ATTEMPTS_DAYS", 30.0),
        keep_deliveries_days=_number("RATCHET_KEEP_DELIVERIES_DAYS", 90.0),
        smtp_url=_smtp_url(),
        mail_from=os.environ.get("RATCHET_MAIL_FROM", "ratchet@localhost"),
        mail_to=os.environ.get("RATCHET_MAIL_TO", "").strip(),
        log_level=os.environ.get("RATCHET_LOG_LEVEL", "info").lower(),
        secure_cookies=_flag("RATCHET_SECURE_COOKIES", default=True),
    )


def home() -> Path:
    """Return the data folder: `RATCHET_HOME`, or .ratchet in the working directory."""
    return Path(os.environ.get("RATCHET_HOME", ".ratchet")).absolute()


def given(name: str) -> str | None:
    """Return a variable that a user may have set before any server runs, or None. For `ratchet up` and `demo`."""
    return os.environ.get(name, "").strip() or None


def inherited() -> dict[str, str]:
    """Return a copy of the whole environment, for the processes we start."""
    return dict(os.environ)


def adopt(variables: dict[str, str]) -> None:
    """Take over what `ratchet up` has just decided, for this process and those it starts."""
    os.environ.update(variables)
    settings.cache_clear()
