"""Facts in, findings out: one file for each area, with the facts that it wants."""
