import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import settings
from settings import InvalidSettings

ROOT = Path(settings.__file__).parent

ELSEWHERE = {"tests", "examples", ".venv", ".ratchet", ".git"}
"""The suite's own conftest decides what the project reads, and examples belong to whoever copies them."""

READERS = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}

GIVEN = {
    "DATABASE_URL": "postgresql://u:p4ss@h/d",
    "REDIS_URL": "redis://h",
    "RATCHET_SECRET_KEYS": "new, old",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Give an environment with what is required and nothing else, read anew."""
    for name in settings.inherited():
        if name.startswith("RATCHET_"):
            monkeypatch.delenv(name)
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    settings.settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.settings.cache_clear()


def _readings(source: str) -> list[int]:
    """Return the lines on which a module touches the environment."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in {"os", "posix"}:
            lines += [node.lineno] if node.attr in READERS else []
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "posix"}:
            lines += [node.lineno for name in node.names if name.name in READERS | {"*"}]
    return lines


def test_nothing_but_settings_reads_the_environment() -> None:
    sources = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in ELSEWHERE]

    readers = {str(path.relative_to(ROOT)) for path in sources if _readings(path.read_text())}

    assert len(sources) > 50
    assert readers == {"settings.py"}


@pytest.mark.parametrize(
    "source",
    ["import os\nos.environ['A']", "import os\nx = os.getenv", "from os import environ as e", "from os import *"],
)
def test_the_scan_sees_every_way_to_read_it(source: str) -> None:
    assert _readings(source)


def test_the_required_variables_are_enough(environment: pytest.MonkeyPatch) -> None:
    told = settings.settings()

    assert told.database_url == "postgresql://u:p4ss@h/d"
    assert told.secret_keys == ("new", "old")
    assert (told.receiver_port, told.bind, told.poll_unit_seconds) == (8400, "127.0.0.1", 60.0)
    assert told.secure_cookies
    assert not told.private_endpoints


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_variable_is_named_with_what_to_do(
    environment: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)

    with pytest.raises(InvalidSettings, match=f"{name} is not set; set it, or start with `ratchet up`"):
        settings.settings()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("DATABASE_URL", "mysql://u:p4ss@h/d", "must start with postgresql://"),
        ("DATABASE_URL", "sqlite:///x", "must start with postgresql://"),
        ("DATABASE_URL", "postgresql://u:p4ss@h:port/d", "must be like postgresql://"),
        ("DATABASE_URL", "postgresql://u:p4ss@[::1/d", "must be like postgresql://"),
        ("DATABASE_URL", "postgresql://u:p4ss@h/d?sslmod=require", "must be like postgresql://"),
        ("REDIS_URL", "localhost:6379", "must be like redis://"),
        ("REDIS_URL", "amqp://u:p4ss@h", "must be like redis://"),
        ("REDIS_URL", "redis://:p4ss@h:port/0", "must be like redis://"),
        ("REDIS_URL", "redis://:p4ss@h?socket_timeout=soon", "must be like redis://"),
        ("RATCHET_RECEIVER_PORT", "http", "must be a number"),
        ("RATCHET_OPERATORS_PORT", "8401.5", "must be a number"),
        ("RATCHET_RECEIVER_PORT", "-1", "must not be negative"),
        ("RATCHET_POLL_UNIT_SECONDS", "a minute", "must be a number"),
        ("RATCHET_POLL_UNIT_SECONDS", "nan", "must be finite"),
        ("RATCHET_POLL_UNIT_SECONDS", "inf", "must be finite"),
        ("RATCHET_RETRY_SCALE", "-0.5", "must not be negative"),
        ("RATCHET_PRIVATE_ENDPOINTS", "maybe", "must be 1 or 0"),
        ("RATCHET_SECURE_COOKIES", "2", "must be 1 or 0"),
    ],
)
def test_a_bad_variable_is_named_with_what_it_must_be(
    environment: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    environment.setenv(name, value)

    with pytest.raises(InvalidSettings, match=f"^{name} .*{text}") as refused:
        settings.settings()

    assert "p4ss" not in str(refused.value)


@pytest.mark.parametrize("scheme", settings.SCHEMES)
def test_every_usual_way_to_write_the_database_url_becomes_one(environment: pytest.MonkeyPatch, scheme: str) -> None:
    environment.setenv("DATABASE_URL", f"{scheme}u@/d?host=/run")

    assert settings.settings().database_url == "postgresql://u@/d?host=/run"


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://u:p@h", "unix:///run/redis.sock?db=1"])
def test_every_usual_way_to_write_the_redis_url_is_taken_as_it_is(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("REDIS_URL", url)

    assert settings.settings().redis_url == url


@pytest.mark.parametrize(("text", "means"), [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("no", False)])
def test_a_switch_is_written_in_several_ways(environment: pytest.MonkeyPatch, text: str, *, means: bool) -> None:
    environment.setenv("RATCHET_PRIVATE_ENDPOINTS", text)

    assert settings.settings().private_endpoints is means


def test_the_environment_is_read_once_until_it_is_adopted_anew(environment: pytest.MonkeyPatch) -> None:
    first = settings.settings()
    environment.setenv("RATCHET_BIND", "0.0.0.0")  # noqa: S104 (a value, bound by nobody)

    assert settings.settings() is first

    settings.adopt({"RATCHET_BIND": "10.0.0.1"})

    assert settings.settings().bind == "10.0.0.1"


def test_no_setting_that_is_a_secret_is_shown(environment: pytest.MonkeyPatch) -> None:
    shown = repr(settings.settings())

    assert "p4ss" not in shown
    assert "redis://" not in shown
    assert "'new'" not in shown
