"""Tests of dispatching as pcapdj does, against real servers of Redis."""
