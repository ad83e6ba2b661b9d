"""Who may do what: permissions, passwords, sessions and keys. Knows nothing of HTTP."""
