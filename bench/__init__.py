"""Measurements against peers in the same run: `make bench` prints one table and writes build/bench.json."""
