"""The files of a spool, each by itself: what `sinks/spool.py` stands on."""
