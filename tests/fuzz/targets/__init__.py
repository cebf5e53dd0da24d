"""The targets in Python: each module here has a `check` that any octets must pass, and
says its invariant in its first lines."""
