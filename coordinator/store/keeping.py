"""How long what has ended is kept, in seconds."""

KEEP_DETAILS_SECONDS = 30 * 86_400
"""How long commands, steps and nodes' parts of an ended request are kept."""
KEEP_ACTIVITY_SECONDS = 365 * 86_400
"""How long ended requests and the activity log are kept. What backups there are the destinations tell, not the log."""
