"""Training the zoo: losses, balancers, metrics, relations between tasks, the loop, the report, and
the table of all models. `python -m examples.train --help` is the way in; docs/training.md tells
more. Nothing of this is in an exported model."""
