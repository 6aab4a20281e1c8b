"""SEQ: tasks as a sequence.

The SEQ part of "SEQ+MD: Learning Multi-Task as a Sequence with Multi-Distribution Data", arXiv
2408.13357; for MD, which stands before any ranker, see md.py.

Shoppers click, then put into the cart, then buy. SEQ makes one token a task and lets a recurrent
network, the same for all tasks, read them in that order, so that a later task knows what was
learned for the earlier ones:

    token_1 = x;  token_t = MLP_t(x), t = 2 .. T          (B, D)
    h_t     = GRU(token_t, h_(t-1)),  h_0 = 0             (B, H), in as many layers as wanted
    a_t     = head_t(h_t)                                 (B, 1)

One GRU layer, as PyTorch has it (b_hn is inside the product with r, which matters):

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)            u likewise, with its own weights
    n = tanh(W_in x + b_in + r (W_hn h + b_hn))
    h = (1 - u) n + u h

The last part, the paper's descending probability regulariser, sees to it that a later step is never
more likely than the one before. Its formula is not given; the forms here are

    "product"   p_1 = sigmoid(a_1), p_t = p_(t-1) sigmoid(a_t)    cannot fail; the default
    "min"       p_t = min(sigmoid(a_t), p_(t-1))                  cannot fail; where it cuts,
                                                                  a_t learns nothing
    "penalty"   p_t = sigmoid(a_t), and a loss of weight * mean of relu(p_t - p_(t-1))

A task comes after the one that its `after` names, and where no task has any, after the one that
stands before it. Between tasks of which one is not binary nothing descends.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from examples.zoo.layers import both, mlp
from examples.zoo.ranker import Ranker, WithFrontEnd
from examples.zoo.tasks import Task, in_order

FORMS = ("product", "min", "penalty")


class SEQ(Ranker):
    """x (B, input_width) to what is served for each task, (B, 1) or (B, C), in the tasks' order.

    `token` projects x to that width first (None: tokens are as wide as x). With `cascade` a token
    is made of the token before it instead of x. With `one_head`, all tasks have the same head.
    """

    def __init__(
        self,
        input_width: int,
        tasks: int | Sequence[Task],
        hidden: int = 128,
        layers: int = 2,
        token: int | None = None,
        form: str = "product",
        weight: float = 1.0,
        cascade: bool = False,
        one_head: bool = False,
    ) -> None:
        super().__init__(tasks)
        if form not in FORMS:
            raise ValueError(f"form {form!r} is none of {', '.join(FORMS)}")
        if one_head and len({task.width for task in self.tasks}) > 1:
            raise ValueError("one head for tasks of different widths")
        self.form, self.weight, self.cascade = form, weight, cascade
        self.input_width = input_width
        self.options = dict(hidden=hidden, layers=layers, token=token, form=form, weight=weight)
        self.options.update(cascade=cascade, one_head=one_head)
        self.parents = [
            p if p is not None and self.tasks[p].kind == task.kind == "binary" else None
            for task, p in zip(self.tasks, in_order(self.tasks))
        ]
        width = token or input_width
        self.project = nn.Linear(input_width, width) if token else nn.Identity()
        self.tokens = nn.ModuleList(mlp(width, [width, width]) for _ in self.tasks[1:])
        self.gru = nn.GRU(width, hidden, layers, batch_first=True)
        heads = [nn.Linear(hidden, task.width) for task in self.tasks[: 1 if one_head else None]]
        self.towers = nn.ModuleList(heads * (len(self.tasks) if one_head else 1))

    def routed(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        tokens = [self.project(x)]
        for make in self.tokens:
            tokens.append(make(tokens[-1 if self.cascade else 0]))
        states, _ = self.gru(torch.stack(tokens, dim=1))  # (B, T, H)
        return list(states.unbind(1)), []

    def logits(self, x: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        for a, parent in zip(super().logits(x), self.parents):
            if parent is not None and self.form == "product":
                a = both(found[parent], a)
            elif parent is not None and self.form == "min":
                a = torch.minimum(a, found[parent])
            found.append(a)
        if self.training and self.form == "penalty":
            self._auxiliary = self.weight * self.ascent(found)
        return tuple(found)

    def ascent(self, logits: Sequence[Tensor]) -> Tensor:
        """By how much later steps are likelier than those before, summed over steps: a number."""
        p = [torch.sigmoid(logit) for logit in logits]
        steps = [(t, parent) for t, parent in enumerate(self.parents) if parent is not None]
        return sum((relu(p[t] - p[parent]).mean() for t, parent in steps), torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        served: list[Tensor] = []
        for task, a, parent in zip(self.tasks, super().logits(x), self.parents):
            p = task.served(a)
            if parent is not None and self.form == "product":
                p = served[parent] * p
            elif parent is not None and self.form == "min":
                p = torch.minimum(p, served[parent])
            served.append(p)
        return tuple(served)

    def shared(self) -> list[nn.Parameter]:
        """All but the last task's token, and the heads of tasks that nothing descends from."""
        found = [*self.project.parameters(), *self.gru.parameters()]
        found += self.tokens[:-1].parameters()
        if self.options["one_head"]:
            return [*found, *self.towers[0].parameters()]
        heads = set(self.parents) - {None} if self.form != "penalty" else ()
        return found + [p for t in sorted(heads) for p in self.towers[t].parameters()]

    def extended(self, task: Task) -> SEQ:
        """The same ranker with one more task behind the others: the new token and head are drawn,
        everything else is copied, the recurrent network as it is."""
        longer = SEQ(self.input_width, (*self.tasks, task), **self.options)
        longer.load_state_dict({**longer.state_dict(), **self.state_dict()})
        return longer


def one_more_task(ranker: Ranker, task: Task) -> Ranker:
    """`SEQ.extended`, also behind a front end, of which the result has its own copy."""
    if isinstance(ranker, WithFrontEnd):
        return WithFrontEnd(copy.deepcopy(ranker.front), one_more_task(ranker.ranker, task))
    if not isinstance(ranker, SEQ):
        raise ValueError(f"{type(ranker).__name__} takes no further task: only SEQ does")
    return ranker.extended(task)
