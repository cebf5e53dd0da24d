"""Faults: what happens to the packets when something goes wrong, with real processes in
network namespaces."""
