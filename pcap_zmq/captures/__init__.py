"""Reads capture files: which there are, their packets, by time or of one flow."""
