"""A thousand agents in one process: the agents' real protocol over HTTP, on nodes that are only described."""
