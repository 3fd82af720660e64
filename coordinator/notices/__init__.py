"""Events out of the coordinator: found in its state, kept in an outbox, told to webhooks and to the log."""
