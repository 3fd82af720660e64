"""`make drill`: a backup is restored into a scratch Cassandra from its destination alone, and compared."""
