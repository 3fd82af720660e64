"""The coordinator's durable state behind one interface (`protocol`); here kept in SQLite."""
