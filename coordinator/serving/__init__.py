"""What a coordinator's process does: acts alone, or in turns with others."""
