"""Dramatiq: the broker, and thin actors that call payouts/."""
