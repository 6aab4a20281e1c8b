"""Every ranker of the zoo by name, at sizes that train in a minute.

    model = RANKERS["mmoe"].build(schema, tasks)

A name with a suffix is the ranker in another form, or without one of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from examples.zoo import features
from examples.zoo.aitm import AITM
from examples.zoo.cross_stitch import CrossStitchNetwork
from examples.zoo.dtrn import DTRN
from examples.zoo.esmm import ESMM
from examples.zoo.features import Dense, FrontEnd, Schema
from examples.zoo.md import MD
from examples.zoo.mmoe import MMoE
from examples.zoo.ple import PLE
from examples.zoo.ple_seed import PLESeed
from examples.zoo.ranker import Ranker, SingleTask, WithFrontEnd
from examples.zoo.resflow import ResFlow
from examples.zoo.resflow_tower import ResFlowTower, of_item
from examples.zoo.seq import SEQ
from examples.zoo.shared_bottom import SharedBottom
from examples.zoo.stem import STEM, STEMSurvey
from examples.zoo.task_routing import TaskRouting
from examples.zoo.tasks import Task

WIDTH = 8  # of a table's vectors
TOKEN = 32  # of SEQ's tokens

Build = Callable[[Schema, Sequence[Task]], Ranker]


def _has_chain(schema: Schema, tasks: Sequence[Task]) -> bool:
    return any(task.after is not None for task in tasks)


def _has_sides(schema: Schema, tasks: Sequence[Task]) -> bool:
    return len({of_item(field) for field in schema}) == 2


# What an entry may need, in words, and whether it is there.
NEEDS: dict[str, Callable[[Schema, Sequence[Task]], bool]] = {
    "two tasks or more": lambda schema, tasks: len(tasks) > 1,
    "a task that comes after another": _has_chain,
    "binary tasks only, where one comes after another": lambda schema, tasks: all(
        task.kind == "binary" for task in tasks if task.after or _followed(task, tasks)
    ),
    "no multiclass task": lambda schema, tasks: all(t.kind != "multiclass" for t in tasks),
    "a behaviour sequence": lambda schema, tasks: any(
        isinstance(field, features.Sequence) for field in schema
    ),
    "an item's id": lambda schema, tasks: any(
        field.role == "item" and not isinstance(field, features.Sequence) for field in schema
    ),
    "fields of the user and fields of the item": _has_sides,
    "a field of role region": lambda schema, tasks: any(f.role == "region" for f in schema),
    "dense features of role dependent": lambda schema, tasks: any(
        isinstance(f, Dense) and f.role == "dependent" for f in schema
    ),
}


def _followed(task: Task, tasks: Sequence[Task]) -> bool:
    return any(other.after == task.name for other in tasks)


@dataclass(frozen=True)
class Entry:
    """`beats` names the planted worlds on which the ranker's paper, or its argument, has it beat
    single-task models; `needs` are words of NEEDS."""

    build: Build
    title: str
    paper: str
    beats: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def why_not(self, schema: Schema, tasks: Sequence[Task]) -> str:
        """What is missing to build it for these; "" if nothing is."""
        return ", ".join(need for need in self.needs if not NEEDS[need](schema, tasks))


def behind(
    make: Callable[..., Ranker], front: Callable[[Schema, int], nn.Module] = FrontEnd, **sizes
) -> Build:
    """`make(input_width, tasks, **sizes)` behind a front end, or MD in its place."""

    def build(schema: Schema, tasks: Sequence[Task]) -> Ranker:
        before = front(schema, WIDTH)
        return WithFrontEnd(before, make(before.out, tasks, **sizes))

    return build


def on_fields(make: Callable[..., Ranker], **sizes) -> Build:
    """`make(schema, tasks, **sizes)`, a ranker that reads the fields itself."""
    return lambda schema, tasks: make(schema, tasks, **sizes)


SEVERAL = ("two tasks or more",)
CHAIN = (*SEVERAL, "a task that comes after another")
STEPS = (*CHAIN, "binary tasks only, where one comes after another")
PAST = (*SEVERAL, "a behaviour sequence")
TARGET = (*PAST, "an item's id")
SIDES = (*SEVERAL, "fields of the user and fields of the item", "no multiclass task")
REGION = ("a field of role region", "dense features of role dependent")

CARUANA = "Caruana: Multitask Learning, Machine Learning 28, 1997"
STITCH = "Misra et al.: Cross-stitch Networks for Multi-task Learning, CVPR 2016"
ESMM_ = "Ma et al.: Entire Space Multi-Task Model, SIGIR 2018"
ESCM2 = "Wang et al.: ESCM2: Entire Space Counterfactual Multi-Task Model, SIGIR 2022"
MMOE = "Ma et al.: Modeling Task Relationships with Multi-gate Mixture-of-Experts, KDD 2018"
PLE_ = "Tang et al.: Progressive Layered Extraction (PLE), RecSys 2020"
STEM_ = "Su et al.: STEM: Unleashing the Power of Embeddings for Multi-task, AAAI 2024"
DTRN_ = "Deep Task-specific Bottom Representation Network, arXiv 2308.05996"
FLOW = "Residual Multi-Task Learner for Applied Ranking, arXiv 2411.09705"
SEQ_MD = "SEQ+MD: Learning Multi-Task as a Sequence, arXiv 2408.13357"
AITM_ = "Xi et al.: Modeling the Sequential Dependence among Multi-step Conversions, KDD 2021"
SURVEY = "a survey of multi-task rankers"

md = partial(behind, front=MD)
seq = partial(SEQ, token=TOKEN, hidden=64)
slim_bottom = partial(SharedBottom, bottom=(128, 64), towers=(32, 16))

RANKERS: dict[str, Entry] = {
    "single_task": Entry(on_fields(SingleTask), "Single-task networks", "the baseline"),
    "shared_bottom": Entry(behind(slim_bottom), "Shared-Bottom", CARUANA, ("funnel",), SEVERAL),
    "cross_stitch": Entry(
        behind(CrossStitchNetwork), "Cross-Stitch", STITCH, ("funnel",), SEVERAL
    ),
    "esmm": Entry(behind(ESMM, trunk=128, towers=(64, 32)), "ESMM", ESMM_, ("funnel",), STEPS),
    "esmm_clicked": Entry(
        behind(ESMM, trunk=128, towers=(64, 32), cvr_loss="clicked"),
        "ESMM with a loss of the clicked",
        SURVEY,
        ("funnel",),
        STEPS,
    ),
    "escm2_ips": Entry(
        behind(ESMM, trunk=128, towers=(64, 32), cvr_loss="ips"),
        "ESCM2 by inverse propensity",
        ESCM2,
        ("funnel",),
        STEPS,
    ),
    "escm2_dr": Entry(
        behind(ESMM, trunk=128, towers=(64, 32), cvr_loss="dr"),
        "ESCM2, doubly robust",
        ESCM2,
        ("funnel",),
        STEPS,
    ),
    "omoe": Entry(
        behind(MMoE, one_gate=True), "Mixture of experts with one gate", MMOE, (), SEVERAL
    ),
    "mmoe": Entry(behind(MMoE), "MMoE", MMOE, ("funnel", "conflict"), SEVERAL),
    "ple": Entry(behind(PLE), "PLE", PLE_, ("funnel", "conflict"), SEVERAL),
    "ple_seed": Entry(behind(PLESeed), "PLE in the survey's form", SURVEY, (), SEVERAL),
    "stem_s": Entry(behind(STEMSurvey), "STEM in the survey's form", SURVEY, (), SEVERAL),
    "stem": Entry(on_fields(STEM), "STEM", STEM_, ("conflict",), SEVERAL),
    "task_routing": Entry(behind(TaskRouting), "Task Routing", SURVEY, (), SEVERAL),
    "task_routing_joint": Entry(
        behind(TaskRouting, joint=True), "Task Routing, one softmax for all", SURVEY, (), SEVERAL
    ),
    "dtrn": Entry(on_fields(DTRN, target=True), "DTRN", DTRN_, ("sequences",), TARGET),
    "dtrn_pooled": Entry(on_fields(DTRN), "DTRN, interests as means", DTRN_, (), PAST),
    "dtrn_pre_norm": Entry(
        on_fields(DTRN, target=True, pre_norm=True),
        "DTRN, norm first",
        DTRN_,
        ("sequences",),
        TARGET,
    ),
    "dtrn_no_tim": Entry(on_fields(DTRN, tim=False), "DTRN without TIM", DTRN_, (), PAST),
    "dtrn_no_trm": Entry(
        on_fields(DTRN, target=True, trm=False), "DTRN without TRM", DTRN_, (), TARGET
    ),
    "dtrn_ple": Entry(
        on_fields(DTRN, on="ple", target=True), "DTRN on PLE", DTRN_, ("sequences",), TARGET
    ),
    "resflow": Entry(behind(ResFlow), "ResFlow", FLOW, ("funnel",), SEVERAL),
    "resflow_logits": Entry(
        behind(ResFlow, layers_flow=False), "ResFlow of logits only", FLOW, ("funnel",), SEVERAL
    ),
    "nse": Entry(
        behind(ResFlow, layers_flow=False, logits_flow=False),
        "Naive shared embedding",
        FLOW,
        (),
        SEVERAL,
    ),
    "resflow_prelu": Entry(
        behind(ResFlow, activation="prelu", input_norm=True),
        "ResFlow with PReLU and BatchNorm",
        FLOW,
        ("funnel",),
        SEVERAL,
    ),
    "resflow_hard": Entry(
        behind(ResFlow, hard=True), "ResFlow that cannot rise", FLOW, ("funnel",), CHAIN
    ),
    "resflow_penalty": Entry(
        behind(ResFlow, penalty=1.0), "ResFlow that should not rise", FLOW, ("funnel",), CHAIN
    ),
    "resflow_tower": Entry(on_fields(ResFlowTower), "ResFlow as a twin tower", FLOW, (), SIDES),
    "seq": Entry(behind(seq), "SEQ", SEQ_MD, ("funnel",), CHAIN),
    "seq_min": Entry(behind(seq, form="min"), "SEQ by minimum", SEQ_MD, (), CHAIN),
    "seq_penalty": Entry(
        behind(seq, form="penalty"), "SEQ by a penalty", SEQ_MD, ("funnel",), CHAIN
    ),
    "seq_md": Entry(md(seq), "SEQ behind MD", SEQ_MD, ("regions",), (*SEVERAL, *REGION)),
    "md_single": Entry(
        on_fields(SingleTask, front=MD),
        "Single-task networks behind MD",
        SEQ_MD,
        ("single",),
        REGION,
    ),
    "md_shared_bottom": Entry(
        md(slim_bottom), "Shared-Bottom behind MD", SEQ_MD, ("regions",), (*SEVERAL, *REGION)
    ),
    "md_mmoe": Entry(md(MMoE), "MMoE behind MD", SEQ_MD, ("regions",), (*SEVERAL, *REGION)),
    "md_ple": Entry(md(PLE), "PLE behind MD", SEQ_MD, ("regions",), (*SEVERAL, *REGION)),
    "aitm": Entry(behind(AITM), "AITM", AITM_, ("funnel",), CHAIN),
}
