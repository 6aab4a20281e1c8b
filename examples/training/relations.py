"""How tasks relate: do they predict alike, do their gradients pull the shared parameters alike, are
their embeddings alike? All matrices are (T, T), symmetric, from -1 to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from examples.training.balancers import gradient


def correlation(columns: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's, of the columns of (B, T): predictions, or labels. A pair of columns is compared
    where neither is NaN; 0 where one of them does not vary."""
    matrix = pd.DataFrame(columns).astype(np.float64).corr().to_numpy(copy=True)
    matrix[np.isnan(matrix)] = 0.0
    np.fill_diagonal(matrix, 1.0)
    return matrix


def cosine(vectors: Tensor) -> NDArray[np.float64]:
    """Of the rows of (T, P); 0 with a row of zeros, 1 of each with itself."""
    unit = nn.functional.normalize(vectors.double(), dim=1, eps=1e-30)
    matrix = (unit @ unit.T).clamp(-1, 1)
    return matrix.fill_diagonal_(1.0).detach().numpy()


def gradient_cosine(losses: Sequence[Tensor], shared: Sequence[Tensor]) -> NDArray[np.float64]:
    """Of the tasks' gradients on the parameters that they share, and on no others: towers' would
    compare different parameters. `losses` are scalars of one forward pass. Negative: conflict."""
    return cosine(torch.stack([gradient(loss, shared) for loss in losses]).detach())


def task_embeddings(model: nn.Module, tasks: int) -> dict[str, Tensor]:
    """Parameters that are one vector a task, (T, d), by name: those that are called so, and have
    the shape."""
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if "task" in name and parameter.dim() == 2 and len(parameter) == tasks
    }
