"""What the service knows, and the rules for changing it."""
