"""The partners' door: the API under /v1, described by the same declarations that serve it."""
