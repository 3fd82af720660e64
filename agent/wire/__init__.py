"""The protocol's types: what a coordinator and an agent say to each other under /v1, and nothing else."""
