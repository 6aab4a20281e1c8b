"""Ids in one matrix in front of a ranker.

Many teams keep the ids of a candidate as the columns of one matrix, and its numbers as those of
another. Field by field it is what FrontEnd does:

    x = [table_1[id_1], ..., table_F[id_F], dense]     (B, F K + D)
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from examples.zoo.features import Dense, FrontEnd, Id
from examples.zoo.ranker import Ranker, WithFrontEnd


class WithFields(WithFrontEnd):
    """ids (B, F) int64, dense (B, `numbers`) to whatever `ranker` makes of x (B, F * width +
    numbers).

    `sizes` are the rows of the F tables: ids of field f are 0 .. sizes[f] - 1.
    """

    def __init__(self, sizes: Sequence[int], width: int, numbers: int, ranker: Ranker) -> None:
        ids = [Id(f"id{f}", size) for f, size in enumerate(sizes)]
        super().__init__(FrontEnd((*ids, Dense("dense", numbers)), width), ranker)

    def features(self, ids: Tensor, dense: Tensor) -> Tensor:
        return self.front(*(ids[:, f] for f in range(ids.shape[1])), dense)
