"""What differs between rankers in training, and nothing else does: the losses that their papers ask
for. Sizes are the zoo's; the rate is chosen for each ranker among the same few, on validation."""

from __future__ import annotations

from examples.training.losses import LossOptions

RATES = (1e-3, 3e-3)

# aitm: the penalty and its weight are part of the paper's loss. ESMM's, SEQ's and ResFlow's losses
# are over all impressions, which is how every task here is trained.
LOSSES = {"aitm": LossOptions(descending=0.6)}


def losses(model: str) -> LossOptions:
    return LOSSES.get(model, LossOptions())
