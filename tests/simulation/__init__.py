"""Deterministic simulation: the real core in a world of which one number decides everything that happens."""
