"""Who may come in: passwords, users, sessions, and how often somebody may try."""
