"""One tool each: its Config, and the pipeline that it makes of it."""
