"""Benchmarks of the product on this machine; each is a module to run: `python -m benchmarks.memory`."""
