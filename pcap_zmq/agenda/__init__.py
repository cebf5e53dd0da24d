"""Which capture file is next, and whether it may go: whoever keeps the queue."""
