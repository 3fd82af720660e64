"""Recording what agents of a release say, and saying it again (tests/fast/http/recorded/README.md)."""
