"""How hard hypothesis tries to break a law: more where an example costs microseconds, fewer where it costs rows."""

from typing import Final

from hypothesis import HealthCheck, settings

IN_MEMORY: Final = settings(max_examples=200, deadline=None)

IN_POSTGRES: Final = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Examples share one test's database; each brings payouts of its own."""
