"""Archiving of the node's commit log: the order, what the daemon does all the time for it, and what it knows."""
