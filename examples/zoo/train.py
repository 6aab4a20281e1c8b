"""Trains an MMoE and a PLE on the planted data and prints how close they come to the truth.

python -m examples.zoo.train
"""

from __future__ import annotations

import torch
from torch import nn

from examples.zoo.data import TASKS, Planted, auc, planted
from examples.zoo.mmoe import MMoE
from examples.zoo.ple import PLE


def train(
    model: nn.Module, data: Planted, epochs: int = 5, batch: int = 512, seed: int = 1
) -> nn.Module:
    """Adam on the sum of the tasks' binary cross-entropies; a few seconds on two cores. Returns
    `model` in eval mode."""
    torch.manual_seed(seed)  # dropout and the order of the rows
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(data.x)).split(batch):
            logits = torch.cat(model.logits(data.x[rows]), dim=1)  # (batch, T)
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, data.labels[rows], reduction="none"
            )
            optimiser.zero_grad()
            loss.sum(dim=1).mean().backward()
            optimiser.step()
    return model.eval()


def trained(name: str, features: int = 64, seed: int = 1, **sizes: int) -> nn.Module:
    """A trained "mmoe" or "ple" for the three planted tasks."""
    torch.manual_seed(seed)
    model = {"mmoe": MMoE, "ple": PLE}[name](features, len(TASKS), **sizes)
    return train(model, planted(20_000, features, seed=1), seed=seed)


def evaluate(model: nn.Module, data: Planted) -> list[tuple[str, float, float]]:
    """(task, AUC of the model, AUC of the true probabilities) for each task."""
    with torch.no_grad():
        scores = torch.cat(model(data.x), dim=1)
    return [
        (task, auc(scores[:, t], data.labels[:, t]), auc(data.truth[:, t], data.labels[:, t]))
        for t, task in enumerate(TASKS)
    ]


def main() -> None:
    torch.set_num_threads(1)  # products so small that threads would only wait for each other
    test = planted(20_000, 64, seed=2)
    for name in ("mmoe", "ple"):
        for task, got, best in evaluate(trained(name), test):
            print(f"{name:5} {task:6} AUC {got:.4f}   (true probabilities: {best:.4f})")


if __name__ == "__main__":
    main()
