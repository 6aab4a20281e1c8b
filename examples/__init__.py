"""Rankers to train, export, compile and serve, run from the root: `python -m examples.demo`."""
