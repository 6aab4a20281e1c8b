"""Every ranker of the zoo with features of the user and of the candidate, by both exporters: what
is the user's is computed once, and the scores stay what they were. Needs PyTorch.

Each must score as PyTorch does in float64 and as its unsplit plan does, and bit for bit the same
whatever the number of candidates and of users in the call.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.harness import Arrays, Programs, check_close, check_same_bits, difference
from tests.users import Call, Declared, drawn

torch = pytest.importorskip("torch", reason="the tests of requests on the zoo need PyTorch")
pytest.importorskip("onnxscript", reason="the dynamo exporter needs onnxscript")

from examples.data import planted  # noqa: E402
from examples.zoo.export import to_onnx  # noqa: E402
from examples.zoo.rankers import Small, drawn as with_drawn_parameters, rankers  # noqa: E402
from examples.zoo.registry import RANKERS  # noqa: E402
from examples.zoo.variants import Draws, reference  # noqa: E402

EXPORTS = {"torchscript": 17, "dynamo": 20}
ZOO = rankers()
ROWS, USERS = 70, 7
WORLDS = {
    "funnel": ("mmoe", "ple", "resflow_tower", "esmm", "aitm"),
    "sequences": ("dtrn", "dtrn_ple", "mmoe"),
    "regions": ("seq_md", "md_mmoe", "md_single"),
}


def truth(module: torch.nn.Module, outputs: list[str], given: Arrays) -> dict[str, np.ndarray]:
    """By PyTorch in float64."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in given.items()}
    values = reference(module, tensors, double=True)
    return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}


class Split:
    """One export, compiled with `--request` and without."""

    def __init__(
        self,
        programs: Programs,
        module: torch.nn.Module,
        small: Arrays,
        outputs: list[str],
        exporter: str,
        declared: Declared,
        folder: Path,
    ) -> None:
        few = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in small.items()}
        proto = to_onnx(module, few, outputs, exporter, EXPORTS[exporter])
        model = folder / "model.onnx"
        model.write_bytes(proto.SerializeToString())
        self.programs = programs
        self.whole = programs.compile(model, folder / "whole.bin")
        self.plan = programs.compile(model, folder / "request.bin", *declared.options())

    def check_scores(self, call: Call, want: Arrays, where: str) -> dict[str, np.ndarray]:
        got = call.score(self.programs, self.plan)
        check_close(got, want, where)
        check_close(got, self.programs.score(self.whole, call.copied()), f"{where}, unsplit")
        return got

    def check_bits(self, call: Call, want: Arrays, where: str) -> None:
        """Each of some candidates alone, and some of the users with theirs: U = 1 and 3."""
        last = len(call.user) - 1
        parts = [np.array([row]) for row in (0, 1, last // 2, last)]
        parts += [np.flatnonzero(call.user == user) for user in range(3)]
        parts.append(np.flatnonzero(call.user < 3)[::-1])
        for rows in parts:
            got = call.part(rows).score(self.programs, self.plan)
            expected = {name: value[rows] for name, value in want.items()}
            check_same_bits(got, expected, f"{where}, rows {rows.tolist()}")

    def work(self) -> tuple[int, int]:
        """FLOPs a candidate, without and with the split."""
        totals = [self.programs.info(plan)["totals"]["row"] for plan in (self.whole, self.plan)]
        return tuple(total["flops_per_row"] for total in totals)


@pytest.mark.parametrize("exporter", EXPORTS)
@pytest.mark.parametrize("name", ZOO)
def test_the_user_is_computed_once_and_scores_stay(
    programs: Programs, name: str, exporter: str, tmp_path: Path, record_property: object
) -> None:
    small: Small = ZOO[name]
    module, outputs = small.module(), small.outputs()
    arrays = {key: value.numpy() for key, value in small.made_up(ROWS).items()}
    declared = Declared.of(arrays)
    few = {key: value.numpy() for key, value in small.made_up(3).items()}
    split = Split(programs, module, few, outputs, exporter, declared, tmp_path)
    call = drawn(declared, arrays, ROWS, USERS)
    want = truth(module, outputs, call.copied())
    got = split.check_scores(call, want, f"{name}, {exporter}")
    split.check_bits(call, got, f"{name}, {exporter}")
    one = drawn(declared, arrays, ROWS, 1, seed=1)
    split.check_scores(one, truth(module, outputs, one.copied()), f"{name}, {exporter}, one user")
    before, after = split.work()
    assert after < before, f"{name}, {exporter}: {before} FLOPs a row, and {after} with --request"
    worst = max(difference(got[key], want[key]) for key in want)
    record_property("worst", (exporter, EXPORTS[exporter], worst))


def constant_in_groups(values: np.ndarray, groups: np.ndarray, first: np.ndarray) -> bool:
    return bool((values == values[first][groups]).all())


@pytest.mark.parametrize("exporter", EXPORTS)
@pytest.mark.parametrize(
    ("world", "name"), [(world, name) for world, names in WORLDS.items() for name in names]
)
def test_requests_of_a_world(
    programs: Programs, world: str, name: str, exporter: str, tmp_path: Path
) -> None:
    """Users and candidates as they come: rows of a request follow each other, and what of a field
    is the request's is what the rows of every request have in common."""
    made = planted.make(world, rows=200)
    inputs = {key: value.numpy() for key, value in made.test.inputs.items()}
    found, first, user = np.unique(made.test.groups.numpy(), return_index=True, return_inverse=True)
    declared = Declared.of(inputs)
    assert 5 < len(found) < 40 and declared.words()
    for field in declared.inputs:
        assert constant_in_groups(inputs[field], user, first), field
    if world == "sequences":  # there the numbers are the candidates'
        declared = Declared(declared.inputs)
    for field in declared.columns:
        columns = inputs[field][:, declared.places(field)]
        assert constant_in_groups(columns, user, first), field
    module = RANKERS[name].build(made.schema, made.tasks)
    module.fit(made.train.inputs)
    module = with_drawn_parameters(module, Draws(0)).eval()
    few = {key: value[:3] for key, value in inputs.items()}
    split = Split(programs, module, few, module.outputs, exporter, declared, tmp_path)
    users = {key: value[first] for key, value in inputs.items()}
    call = Call(declared, inputs, users, user)
    want = truth(module, module.outputs, inputs)
    got = split.check_scores(call, want, f"{world}, {name}, {exporter}")
    split.check_bits(call, got, f"{world}, {name}, {exporter}")
