"""The sandbox, proven against the gateways' own documents."""
