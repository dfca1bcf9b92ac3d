"""Measurements of the product on this machine, each a module to run: `python -m benchmarks.memory`."""
