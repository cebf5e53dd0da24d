"""Instructions per packet, and whether they are still what they were."""
