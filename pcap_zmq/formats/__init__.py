"""Bytes and values, either way; no IO."""
