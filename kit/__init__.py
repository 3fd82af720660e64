"""What both services need and neither owns: configuration, logs, redaction, metrics, sd_notify, HTTP limits."""
