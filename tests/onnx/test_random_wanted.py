"""`--only`: the random graphs of the other tests, with more of their values as outputs and with users' inputs declared at random.
Whichever outputs a run is to give, they have the bits that they have when it gives all.

Run as a program, it tries seeds without end: `python -m tests.onnx.test_random_wanted MTLC MTLRUN FIRST COUNT`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.harness import Arrays, Programs, isas
from tests.onnx.builder import Builder
from tests.onnx.differential import Compiled, Refused, run_seeds
from tests.onnx.test_random_requests import MAKERS, Call, Declared

SEEDS = 48
CHOICES = 6


def add_outputs(built: Builder, rng: np.random.Generator) -> None:
    """Up to three of the graph's values as outputs, whoever else reads them."""
    values = [node.output[0] for node in built.nodes if node.output[0] not in built.outputs]
    for i in rng.permutation(len(values))[: rng.integers(1, 4)]:
        built.output(values[i])


def compiled_with(programs: Programs, seed: int, folder: Path, more: bool) -> tuple[Compiled, Declared]:
    built = MAKERS[seed % len(MAKERS)](seed)
    model = built.model()  # what it draws, it draws here
    rng = np.random.default_rng([seed, 41])
    if more:
        add_outputs(built, rng)
        model = Builder.model(built)
    declared = Declared(built, seed)
    if rng.random() < 0.6 or not declared.words():
        declared.whole, declared.columns = [], {}
        return Compiled(programs, model, folder), declared
    return Compiled(programs, model, folder, "--request", declared.words()), declared


def configuration(rng: np.random.Generator) -> list[str]:
    options = ["--isa", str(rng.choice(isas()))]
    if rng.random() < 0.4:
        options += ["--tile-rows", "16"]
    if rng.random() < 0.3:
        options += ["--threads", "2", "--rows-per-thread", "1"]
    if rng.random() < 0.2:
        options += ["--provider", "onednn"]
    return options


def score(compiled: Compiled, call: Call, *options: str) -> Arrays:
    inputs, user = call.once(np.arange(len(call.user)))
    if user.max(initial=0) == 0:
        return compiled.score(inputs, *options)
    return compiled.score(inputs | {"whose candidate": user}, "--users", "whose candidate", *options)


def pattern(name: str) -> str:
    """A name as --only takes it: a comma would end it."""
    return name.replace(",", "?").replace("*", "?")


def run(programs: Programs, seed: int) -> str:
    rng = np.random.default_rng([seed, 43])
    with tempfile.TemporaryDirectory() as folder:
        try:
            compiled, declared = compiled_with(programs, seed, Path(folder), True)
        except Refused:  # an output that cannot be one
            try:
                compiled, declared = compiled_with(programs, seed, Path(folder), False)
            except Refused as refused:
                return refused.message
        info = programs.info(compiled.plan)
        users = 3 if any("U" in entry["shape"] for entry in info["inputs"]) else 1
        names = [entry["name"] for entry in info["outputs"]]
        for rows in (1, 40):
            options = configuration(rng)
            call = Call(declared, info["inputs"], rows, min(users, rows))
            want = score(compiled, call, *options)
            for _ in range(CHOICES):
                chosen = [name for name in names if rng.random() < 0.4] or [str(rng.choice(names))]
                got = score(compiled, call, "--only", ",".join(map(pattern, chosen)), *options)
                assert sorted(got) == sorted(set(chosen))
                for name in chosen:
                    assert got[name].tobytes() == want[name].tobytes(), (
                        f"{name} has other bits among {chosen} of {names}: {rows} rows, {' '.join(options)}"
                    )
    return ""


# 357: a mixture of three rows for each candidate
@pytest.mark.parametrize("seed", [*range(SEEDS), 357])
def test_choice(seed: int, programs: Programs) -> None:
    assert run(programs, seed) == ""


if __name__ == "__main__":
    run_seeds(run, "choices")
