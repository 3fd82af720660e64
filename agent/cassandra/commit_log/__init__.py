"""Cassandra's commit log as files: segments, how it is archived, and how an archive is given back to it."""
