"""Repositories as earlier and present versions wrote them, which every later one must read."""
