"""The durable record of commands: what was accepted is never lost and never run twice at once."""
