"""The scripts that a backup runs on its nodes, before and after their snapshots."""
