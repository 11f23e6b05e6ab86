"""Real servers for a machine that has none: PostgreSQL and Redis on unix sockets under one data folder.

Used by `ratchet up`, `ratchet demo`, the tests and the benchmarks; never in production, where DATABASE_URL and
REDIS_URL name real ones.
"""
