"""The counters as others' monitoring wants them: Prometheus, statsd."""
