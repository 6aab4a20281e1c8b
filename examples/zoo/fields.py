"""Ids in front of a ranker.

Most of what a ranker knows comes as ids: the user, the item, its category, the hour. Each id field
has a table of vectors, and what the ranker reads are the vectors of the candidate's ids beside its
dense features:

    x = [table_1[id_1], ..., table_F[id_F], dense]     (B, F K + D)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WithFields(nn.Module):
    """ids (B, F) int64, dense (B, D) to whatever `ranker` makes of x (B, F * width + D).

    `sizes` are the rows of the F tables: ids of field f are 0 .. sizes[f] - 1.
    """

    def __init__(self, sizes: Sequence[int], width: int, ranker: nn.Module) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        self.ranker = ranker

    def logits(self, ids: Tensor, dense: Tensor) -> tuple[Tensor, ...]:
        return self.ranker.logits(self.features(ids, dense))

    def forward(self, ids: Tensor, dense: Tensor) -> tuple[Tensor, ...]:
        return self.ranker(self.features(ids, dense))

    def features(self, ids: Tensor, dense: Tensor) -> Tensor:
        found = [table(ids[:, f]) for f, table in enumerate(self.tables)]
        return torch.cat([*found, dense], dim=1)
