"""Private networks with real traffic, for the demo, the tests and the benchmarks."""
