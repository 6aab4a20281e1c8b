"""The papers' own experiments, small, on planted worlds: `python -m examples.experiments`."""
