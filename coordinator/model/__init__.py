"""The coordinator's frozen types: orders, requests, posted commands, destinations, listings, settings. No I/O."""
