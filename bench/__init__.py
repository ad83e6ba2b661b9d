"""Benchmarks: ratios against peers that are measured in the same run. `make bench` runs them all."""
