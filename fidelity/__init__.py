"""Whether an IDS behind the pipe says what it would say at the gateway."""
