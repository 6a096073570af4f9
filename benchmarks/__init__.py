"""Benchmarks: one module a question, each run by `python -m benchmarks.<name>`; `python -m benchmarks` runs all.

A question starts the platform by its public command on ports and a data directory of its own, measures it and its
peer in turns with the same client, and writes figures, machine and plot to `benchmarks/results/`.
"""
