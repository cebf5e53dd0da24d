"""Gathers the facts that `judge` wants; reads only, and takes no for an answer."""
