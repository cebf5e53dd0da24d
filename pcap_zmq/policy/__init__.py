"""Decisions: no IO, no payloads."""
