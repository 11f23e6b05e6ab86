"""The safety net: finds what was committed and forgotten, and asks about what has gone quiet."""
