"""Multi-task rankers in PyTorch, written to be read: one file a model, each with its shapes,
formula and paper."""
