"""What we say about ourselves: log lines and figures."""
