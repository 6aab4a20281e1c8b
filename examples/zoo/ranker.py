"""What all rankers of the zoo have in common, and the front end before one of them.

A ranker maps its inputs to one representation of the candidate for each task, and a tower makes a
logit of it:

    z_t, gates = routed(inputs)        (B, H_t), t = 1 .. T; gates (B, E) where experts are mixed
    logit_t    = tower_t(z_t)          (B, 1); (B, C) for C classes
    y_t        = served(logit_t)       sigmoid, nothing, or softmax: see tasks.py

`logits` is what losses want (no sigmoid, hence no rounding near 0 and 1), `forward` what serving
wants. Most rankers are `routed` alone; one whose probabilities depend on each other writes `logits`
and `forward` itself, and keeps both consistent: a binary task's logit is the log-odds of the
probability that is served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from examples.zoo.features import FrontEnd, Schema
from examples.zoo.layers import tower
from examples.zoo.tasks import Task, as_tasks


class Ranker(nn.Module):
    """Inputs to what is served for each task, (B, 1) or (B, C); with `gates_out`, the gates after
    them."""

    towers: nn.ModuleList

    def __init__(self, tasks: int | Sequence[Task], gates_out: bool = False) -> None:
        super().__init__()
        self.tasks, self.gates_out = as_tasks(tasks), gates_out
        self._auxiliary: Tensor | None = None

    def add_towers(self, width: int, hidden: Sequence[int], dropout: float) -> None:
        """One for each task, on representations (B, width)."""
        self.towers = nn.ModuleList(
            tower(width, hidden, dropout, task.width) for task in self.tasks
        )

    def routed(self, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the towers read, T of (B, H), and the gates: as many (B, E) as the ranker has."""
        raise NotImplementedError

    def logits(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """T of (B, 1), or (B, C) for C classes."""
        mixed, _ = self.routed(*inputs)
        return tuple(head(z) for head, z in zip(self.towers, mixed))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        mixed, gates = self.routed(*inputs)
        served = [task.served(head(z)) for task, head, z in zip(self.tasks, self.towers, mixed)]
        return (*served, *gates) if self.gates_out else tuple(served)

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns, in order."""
        names = [task.name for task in self.tasks]
        return names + ([f"{name}_gate" for name in names] if self.gates_out else [])

    def shared(self) -> list[nn.Parameter]:
        """What more than one task trains: where the tasks' gradients can pull apart."""
        raise NotImplementedError

    def auxiliary(self) -> Tensor:
        """A loss beside those of the tasks, of the last `logits` in training; 0 for most rankers.
        Read it once after each `logits`."""
        loss, self._auxiliary = self._auxiliary, None
        return torch.zeros(()) if loss is None else loss

    def label_loss(self, labels: Tensor) -> Tensor:
        """The same for a loss that needs the labels (B, T), NaN where one is missing."""
        return torch.zeros(())

    def fit(self, inputs: Mapping[str, Tensor]) -> None:
        """Takes from data, by field name, what is no parameter: the statistics of dense fields.
        Once, before training."""
        for module in self.modules():
            if isinstance(module, FrontEnd):
                module.fit(inputs)


class WithFrontEnd(Ranker):
    """Inputs by a front end to x (B, front.out), and x to whatever `ranker` makes of it. The front
    end is `FrontEnd`, or anything that stands in its place (md.py)."""

    def __init__(self, front: nn.Module, ranker: Ranker) -> None:
        super().__init__(ranker.tasks, ranker.gates_out)
        self.front, self.ranker = front, ranker

    def features(self, *inputs: Tensor) -> Tensor:
        return self.front(*inputs)

    def routed(self, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return self.ranker.routed(self.features(*inputs))

    def logits(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.ranker.logits(self.features(*inputs))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.ranker(self.features(*inputs))

    @property
    def outputs(self) -> list[str]:
        return self.ranker.outputs

    def shared(self) -> list[nn.Parameter]:
        return [*self.front.parameters(), *self.ranker.shared()]

    def auxiliary(self) -> Tensor:
        return self.ranker.auxiliary()

    def label_loss(self, labels: Tensor) -> Tensor:
        return self.ranker.label_loss(labels)


class SingleTask(Ranker):
    """The baseline: a network for each task that knows nothing of the others, tables included.

    x_t = front_t(inputs), y_t = served(tower_t(x_t)). Whatever shares something must beat this, or
    what it shares does harm (negative transfer).
    """

    def __init__(
        self,
        schema: Schema,
        tasks: int | Sequence[Task],
        width: int = 8,
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.1,
        front: Callable[[Schema, int], nn.Module] = FrontEnd,
    ) -> None:
        super().__init__(tasks)
        self.fronts = nn.ModuleList(front(schema, width) for _ in self.tasks)
        self.add_towers(self.fronts[0].out, hidden, dropout)

    def routed(self, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return [front(*inputs) for front in self.fronts], []

    def shared(self) -> list[nn.Parameter]:
        return []
