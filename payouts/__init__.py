"""What may happen to a payout: every rule, no HTTP server, no queue."""
