"""MD: a mask of features by market, before any ranker.

The MD part of "SEQ+MD: Learning Multi-Task as a Sequence with Multi-Distribution Data", arXiv
2408.13357.

The same feature means different things in different regions: a price that is low in one is high in
another. Three groups of fields: c, the cause of the shift (role "region": a country's vector or its
id), d, the dense features that the shift affects (role "dependent"), and v, all others:

    m  = MLP_mask(c)         (B, D_d): how to read each dependent feature there
    d' = MLP(m d)            (B, out of it)
    x  = [v, d']             (B, D_v + out of it)

and x is what the ranker behind reads, whichever it is; c itself is not part of it. The mask has no
activation by default, so that it may turn a feature round; `bounded` puts a sigmoid on it. Which
features are dependent is decided before training, by how far apart their distributions by region
are.

All candidates of a request have one region, so m is computed once a request; and of a region's id
there are only as many masks as regions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.zoo.features import Dense, FrontEnd, Schema
from examples.zoo.layers import mlp, tower


class MD(nn.Module):
    """One tensor for each field of `schema`, in its order, to x (B, out): in the place of a
    FrontEnd. `width` is that of the tables."""

    def __init__(
        self, schema: Schema, width: int, hidden: int = 32, made: int = 16, bounded: bool = False
    ) -> None:
        super().__init__()
        roles = [field.role if field.role in ("region", "dependent") else "" for field in schema]
        for role in ("region", "dependent"):
            if role not in roles:
                raise ValueError(f"no field has the role {role}")
        for field in schema:
            if field.role == "dependent" and not isinstance(field, Dense):
                raise ValueError(f"field {field.name}: only dense features can be masked")
        self.roles, self.bounded = roles, bounded
        self.region, self.dependent, self.others = (
            FrontEnd(tuple(f for f, r in zip(schema, roles) if r == role), width)
            for role in ("region", "dependent", "")
        )
        self.mask = tower(self.region.out, [hidden], 0.0, self.dependent.out)
        self.read = mlp(self.dependent.out, [hidden, made])
        self.out = self.others.out + made

    def masks(self, *region: Tensor) -> Tensor:
        """m (B, D_d) for the fields of role "region"."""
        m = self.mask(self.region(*region))
        return torch.sigmoid(m) if self.bounded else m

    def forward(self, *inputs: Tensor) -> Tensor:
        c, d, v = (
            [value for value, r in zip(inputs, self.roles) if r == role]
            for role in ("region", "dependent", "")
        )
        read = self.read(self.masks(*c) * self.dependent(*d))
        return torch.cat([self.others(*v), read], dim=1) if v else read
