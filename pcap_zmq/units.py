"""The units that times are given in, and how many of ours they are."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
