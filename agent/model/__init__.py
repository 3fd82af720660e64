"""Frozen types that the agent's parts hand to each other. No I/O, no clock."""
