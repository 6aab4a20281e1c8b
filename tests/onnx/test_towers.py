"""`--emit-towers`: the user's plan, the item's plan and the score's plan one after the other, as a service runs them, with
users and items in any combination, against the whole model in `onnx.reference` in float64 and against its plan."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.harness import FIXTURES, Fixture, Programs, check_close, manifest
from tests.hostile.support import check_holds, check_refused
from tests.onnx.builder import Builder, Spec
from tests.onnx.differential import difference, evaluate, promoted

USERS, ITEMS, ROWS = 4, 9, 70
PARTS = ("user", "item", "score")


def layer(b: Builder, x: str, name: str, width: int, wide: int, act: str | None = "Relu") -> str:
    draws = np.random.default_rng(sum(name.encode()))
    w, c = draws.standard_normal((width, wide)) / np.sqrt(width), draws.standard_normal(wide) / 4
    y = b.node("Gemm", x, b.const(w), b.const(c))
    return b.node(act, y) if act else y


def tower(b: Builder, x: str, name: str, width: int = 12, out: int = 6) -> str:
    return layer(b, layer(b, x, f"{name} 1", width, 20), f"{name} 2", 20, out, None)


def out(b: Builder, name: str, value: str, op: str = "Sigmoid") -> None:
    b.nodes.append(helper.make_node(op, [value], [name]))
    b.output(name)


def both(b: Builder, width: int = 12) -> tuple[str, str]:
    return b.input(Spec((width,)), "u"), b.input(Spec((width,)), "x")


def dot(b: Builder) -> None:
    u, x = both(b)
    out(b, "y", b.node("ReduceSum", b.node("Mul", tower(b, u, "user"), tower(b, x, "item")), b.ints(1)))


def dot_of_tasks(b: Builder) -> None:
    """One tower each, of whose columns each task has its own."""
    u, x = (tower(b, side, name) for side, name in zip(both(b), ("user", "item")))
    for task, begin in (("click", 0), ("cart", 2), ("order", 4)):
        parts = [b.node("Slice", v, b.ints(begin), b.ints(begin + 2), b.ints(1)) for v in (u, x)]
        out(b, task, b.node("ReduceSum", b.node("Mul", *parts), b.ints(1)))


def cosine(b: Builder) -> None:
    u, x = both(b)
    sides = [tower(b, u, "user"), tower(b, x, "item")]
    lengths = [b.node("Sqrt", b.node("ReduceSum", b.node("Mul", v, v), b.ints(1))) for v in sides]
    sides = [b.node("Div", v, length) for v, length in zip(sides, lengths)]
    out(b, "y", b.node("ReduceSum", b.node("Mul", *sides), b.ints(1)))


def over_concat(b: Builder) -> None:
    u, x = both(b)
    h = b.node("Concat", tower(b, x, "item"), tower(b, u, "user"), axis=1)
    h = layer(b, h, "mixed", 12, 10)
    for task in ("ctr", "cvr"):
        out(b, task, layer(b, h, task, 10, 1, None))


def attends(b: Builder) -> None:
    """The item's vector for each place of the user's sequence: not to be stored so."""
    past, x = b.input(Spec((5, 6)), "u_past"), b.input(Spec((12,)), "x")
    v = b.node("Unsqueeze", tower(b, x, "item"), b.ints(1))
    shape = b.node("Shape", past)
    wide = b.node("Concat", past, b.node("Expand", v, shape), b.node("Mul", past, v), axis=2)
    weight = b.node("MatMul", wide, b.const(np.random.default_rng(5).standard_normal((18, 1))))
    pooled = b.node("ReduceSum", b.node("Mul", b.node("Softmax", weight, axis=1), past), b.ints(1), keepdims=0)
    out(b, "y", b.node("ReduceSum", b.node("Mul", pooled, b.node("Squeeze", v, b.ints(1))), b.ints(1)))


def reads_twice(b: Builder) -> None:
    """Several functions of one value: the value is stored, not they."""
    u, x = both(b)
    v, h = tower(b, x, "item"), tower(b, u, "user")
    more = [b.node("Mul", v, b.const(2.0)), b.node("Tanh", v), b.node("Concat", v, v, v, axis=1)]
    whole = b.node("Concat", *more, h, axis=1)
    out(b, "y", layer(b, whole, "mixed", 36, 10, None))


def first_layers(b: Builder) -> None:
    """Experts and a gate over columns of both, in any order, and of a product of both: what the item's columns give them."""
    u, x = both(b)
    more = b.input(Spec((20,)), "x_more")
    cross = b.node("Mul", u, b.node("Slice", more, b.ints(0), b.ints(12), b.ints(1)))
    wide = b.node("Slice", more, b.ints(12), b.ints(20), b.ints(1))
    whole = b.node("Concat", x, cross, u, wide, axis=1)
    experts = [layer(b, whole, f"expert {i}", 44, 4, act) for i, act in enumerate(("Relu", "Tanh", None))]
    gate = b.node("Unsqueeze", b.node("Softmax", layer(b, whole, "gate", 44, 3, None), axis=1), b.ints(2))
    stack = b.node("Concat", *(b.node("Unsqueeze", e, b.ints(1)) for e in experts), axis=1)
    out(b, "y", b.node("ReduceSum", b.node("Mul", gate, stack), b.ints(1), keepdims=0))


def shared_bottom(b: Builder) -> None:
    u, x = both(b, 40)
    h = layer(b, b.node("Concat", u, x, axis=1), "bottom", 80, 16, "LeakyRelu")
    for task in ("click", "cart"):
        out(b, task, layer(b, h, task, 16, 1, None))


def looks_up(b: Builder) -> None:
    draws = np.random.default_rng(6)
    of_user, of_item = (b.input(Spec((), np.int64, 0, 30), name) for name in ("u_id", "x_id"))
    u, x = b.input(Spec((4,)), "u"), b.input(Spec((3,)), "x")
    e = [b.node("Gather", b.const(draws.standard_normal((30, 8))), ids) for ids in (of_user, of_item)]
    u = tower(b, b.node("Concat", e[0], u, axis=1), "user", 12)
    x = tower(b, b.node("Concat", x, e[1], axis=1), "item", 11)
    out(b, "y", b.node("ReduceSum", b.node("Mul", u, x), b.ints(1)))


def outputs_of_one_side(b: Builder) -> None:
    """Scores of the item alone and of the user alone, and inputs that the score itself reads."""
    u, x = both(b)
    v = tower(b, x, "item")
    quality, loyalty = layer(b, v, "quality", 6, 1, None), layer(b, u, "loyalty", 12, 1, None)
    out(b, "quality", quality)
    out(b, "loyalty", loyalty)
    price = b.node("Slice", x, b.ints(0), b.ints(6), b.ints(1))
    out(b, "y", b.node("ReduceSum", b.node("Mul", b.node("Mul", tower(b, u, "user"), v), price), b.ints(1)))


def without_candidates(b: Builder) -> None:
    """A setting of the request: no axis of candidates, and not declared."""
    u, x = both(b)
    heat = b.node("Exp", b.input(Spec((1,), rows=False), "heat"))
    score = b.node("ReduceSum", b.node("Mul", tower(b, u, "user"), tower(b, x, "item")), b.ints(1))
    out(b, "y", b.node("Div", score, heat))


@dataclass(frozen=True)
class Case:
    build: Callable[[Builder], None]
    stored: int  # bytes an item
    stored_names: tuple[str, ...] = ("item.0",)


CASES = {
    case.build.__name__: case
    for case in (
        Case(dot, 24),
        Case(dot_of_tasks, 24),
        Case(cosine, 24),
        Case(over_concat, 24),
        Case(attends, 24),
        Case(reads_twice, 24),
        Case(first_layers, 60 + 48, ("item.0", "item.1")),
        Case(shared_bottom, 64),
        Case(looks_up, 24),
        Case(outputs_of_one_side, 24 + 24 + 4, ("item.0", "item.1", "quality")),
        Case(without_candidates, 24),
    )
}


@dataclass(frozen=True)
class Towers:
    programs: Programs
    folder: Path
    given: dict[str, np.ndarray]  # USERS rows of the users' inputs, ITEMS of the others

    def plan(self, part: str) -> Path:
        return self.folder / f"m.{part}.plan"

    def score(self, user: np.ndarray, item: np.ndarray) -> dict[str, np.ndarray]:
        """A pair of user and item a row."""
        made: dict[str, np.ndarray] = {}
        for part, pick in (("user", None), ("item", item)):
            names = [i["name"] for i in self.programs.info(self.plan(part))["inputs"]]
            outputs = self.programs.score(self.plan(part), {name: self.given[name] for name in names})
            made |= {name: array if pick is None else array[pick] for name, array in outputs.items()}
        return self.programs.score(self.plan("score"), made | {"whose": user}, "--users", "whose")


def is_users(name: str) -> bool:
    return name.startswith("u") or name == "heat"


def cut(programs: Programs, folder: Path, b: Builder, *options: str) -> Towers:
    (folder / "m.onnx").write_bytes(b.model().SerializeToString())
    programs.ok(programs.mtlc, folder / "m.onnx", "--request", "u*", "--emit-towers", folder / "m", *options)
    draws = np.random.default_rng(1)
    given = {name: spec.make(USERS if is_users(name) else ITEMS, draws) for name, spec in b.inputs.items()}
    return Towers(programs, folder, given)


def pairs(given: dict[str, np.ndarray], user: np.ndarray, item: np.ndarray, fixed: str = "heat") -> dict:
    """What a model without users is fed."""
    return {name: a if name == fixed else a[user] if is_users(name) else a[item] for name, a in given.items()}


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(2)
    return draws.integers(0, USERS, ROWS).astype(np.int32), draws.integers(0, ITEMS, ROWS)


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("name", CASES)
def test_three_plans_score_like_one(programs: Programs, tmp_path: Path, name: str, opset: int, rows) -> None:
    b = Builder(opset)
    CASES[name].build(b)
    towers = cut(programs, tmp_path, b)
    got = towers.score(*rows)
    inputs = pairs(towers.given, *rows)
    want = evaluate(promoted(b.model()), inputs)
    assert sorted(got) == sorted(want)
    whole = programs.score(programs.compile(tmp_path / "m.onnx", tmp_path / "whole", "--request", "none"), inputs)
    for output, value in want.items():
        assert difference(got[output], value) == "", output
        assert np.abs(got[output] - whole[output]).max() <= 1e-6 * max(1, np.abs(value).max()), output


@pytest.mark.parametrize("name", CASES)
def test_what_is_stored(programs: Programs, tmp_path: Path, name: str) -> None:
    b = Builder(17)
    CASES[name].build(b)
    towers = cut(programs, tmp_path, b)
    user, item, score = (programs.info(towers.plan(part)) for part in PARTS)
    assert sorted(i["name"] for i in user["inputs"]) == sorted(filter(is_users, b.inputs))
    assert [i["name"] for i in item["inputs"]] == [i for i in b.inputs if not is_users(i)]
    assert sorted(o["name"] for o in item["outputs"]) == sorted(CASES[name].stored_names)
    assert sum(4 * np.prod([d for d in o["shape"] if d != "B"]) for o in item["outputs"]) == CASES[name].stored
    assert [i["name"] for i in score["inputs"]] == [o["name"] for o in user["outputs"] + item["outputs"]]
    assert [o["name"] for o in score["outputs"]] == b.outputs
    for i in score["inputs"][: len(user["outputs"])]:
        assert i["shape"][0] == "U" or name == "without_candidates", i


def test_the_work_is_where_it_belongs(programs: Programs, tmp_path: Path) -> None:
    """Of the dot product of two towers, the score has the product alone."""
    b = Builder(17)
    dot(b)
    towers = cut(programs, tmp_path, b)
    flops = {
        part: sum(step["flops_per_row"] for step in programs.info(towers.plan(part))["steps"]) for part in PARTS
    }
    one = 2 * (12 * 20 + 20 * 6)
    assert one <= flops["user"] <= 1.2 * one and one <= flops["item"] <= 1.2 * one
    assert flops["score"] <= 2 * 6 + 2


def test_the_first_layer_is_split(programs: Programs, tmp_path: Path) -> None:
    """The score adds what both sides' columns give, and has the layers behind alone."""
    b = Builder(17)
    shared_bottom(b)
    towers = cut(programs, tmp_path, b)
    user, item, score = (
        [step["flops_per_row"] for step in programs.info(towers.plan(part))["steps"] if step["op"] == "linear"]
        for part in PARTS
    )
    assert 2 * 40 * 16 <= sum(user) <= 2 * 41 * 16 and 2 * 40 * 16 <= sum(item) <= 2 * 41 * 16
    assert 2 * 16 * 2 <= sum(score) <= 2 * 18 * 2


ZOO = [f for f in manifest() if len(f.inputs) > 1]


@pytest.mark.parametrize("side", ["last", "item"])
@pytest.mark.parametrize("fixture", ZOO, ids=lambda f: f.model)
def test_exported_rankers(programs: Programs, tmp_path: Path, fixture: Fixture, side: str) -> None:
    """Rankers of one input a field, with one field the item's: one candidate a user, as the fixtures have them."""
    of_item = "item" if side == "item" and "item" in fixture.inputs else fixture.inputs[-1]
    users = ",".join(name for name in fixture.inputs if name != of_item)
    options = (*fixture.options, "--request", users, "--emit-towers", tmp_path / "m")
    done = programs.run(programs.mtlc, fixture.path, *options)
    if done.returncode != 0:
        assert "tower" not in fixture.name
        check_refused(done, "nothing is worth storing")
        return
    given = fixture.load("in")
    made = {"whose": np.arange(fixture.rows, dtype=np.int64)}
    for part in ("user", "item"):
        plan = tmp_path / f"m.{part}.plan"
        made |= programs.score(plan, {i["name"]: given[i["name"]] for i in programs.info(plan)["inputs"]})
    got = programs.score(tmp_path / "m.score.plan", made, "--users", "whose")
    check_close(got, fixture.load("f64"), fixture.model)
    if "tower" in fixture.name and side == "item":
        assert all(step["op"] != "linear" for step in programs.info(tmp_path / "m.score.plan")["steps"])


def test_columns_of_one_input(programs: Programs, tmp_path: Path, rows) -> None:
    b = Builder(17)
    x = b.input(Spec((24,)), "x")
    u, v = (b.node("Slice", x, b.ints(at), b.ints(at + 12), b.ints(1)) for at in (12, 0))
    out(b, "y", b.node("ReduceSum", b.node("Mul", tower(b, u, "user"), tower(b, v, "item")), b.ints(1)))
    (tmp_path / "m.onnx").write_bytes(b.model().SerializeToString())
    programs.ok(programs.mtlc, tmp_path / "m.onnx", "--request", "x[:,12:]", "--emit-towers", tmp_path / "m")
    draws = np.random.default_rng(1)
    given = {n: draws.standard_normal((c, 12)).astype(np.float32) for n, c in (("x.request", USERS), ("x.row", ITEMS))}
    got = Towers(programs, tmp_path, given).score(*rows)
    user, item = rows
    whole = {"x": np.concatenate([given["x.row"][item], given["x.request"][user]], axis=1)}
    assert difference(got["y"], evaluate(promoted(b.model()), whole)["y"]) == ""


def test_candidates_that_mix_are_not_stored(programs: Programs, tmp_path: Path) -> None:
    """A softmax over all candidates depends on who else is there."""
    b = Builder(17)
    u, x = both(b)
    v = b.node("Softmax", tower(b, x, "item"), axis=0)
    out(b, "y", b.node("ReduceSum", b.node("Mul", tower(b, u, "user"), v), b.ints(1)))
    towers = cut(programs, tmp_path, b)
    user, item = np.zeros(ITEMS, np.int32), np.arange(ITEMS)[::-1]
    want = evaluate(promoted(b.model()), pairs(towers.given, user, item))
    assert difference(towers.score(user, item)["y"], want["y"]) == ""


def test_params_and_outputs(programs: Programs, tmp_path: Path, rows) -> None:
    """A param is set in each plan that has it; outputs that are not asked for are in none."""
    b = Builder(17)
    u, x = both(b)
    heat = b.const([2.0], name="alpha")
    user, item = b.node("Mul", tower(b, u, "user"), heat), b.node("Mul", tower(b, x, "item"), heat)
    out(b, "y", b.node("ReduceSum", b.node("Mul", user, item), b.ints(1)))
    out(b, "z", tower(b, x, "other"))
    towers = cut(programs, tmp_path, b, "--param", "alpha", "--outputs", "y")
    params = {part: [p["name"] for p in programs.info(towers.plan(part)).get("params", ())] for part in PARTS}
    assert sum(params.values(), []).count("alpha") >= 1
    assert [o["name"] for o in programs.info(towers.plan("score"))["outputs"]] == ["y"]
    want = evaluate(promoted(b.model()), pairs(towers.given, *rows))["y"]
    assert difference(towers.score(*rows)["y"], want) == ""


def test_explain(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    over_concat(b)
    (tmp_path / "m.onnx").write_bytes(b.model().SerializeToString())
    options = ("--request", "u", "--emit-towers", tmp_path / "m", "--explain")
    said = programs.ok(programs.mtlc, tmp_path / "m.onnx", *options)
    for part in PARTS:
        assert f"{part} plan:\n" in said
    assert "stored an item: item.0 24; 24 bytes together" in said
    assert said == programs.ok(programs.mtlc, tmp_path / "m.onnx", *options)


def test_equal_calls_give_equal_plans(programs: Programs, tmp_path: Path) -> None:
    plans = []
    for _ in range(2):
        b = Builder(17)
        outputs_of_one_side(b)
        towers = cut(programs, tmp_path, b)
        plans.append([towers.plan(part).read_bytes() for part in PARTS])
    assert plans[0] == plans[1]


# --- refusals ---------------------------------------------------------------------------------------------------


def refused(programs: Programs, folder: Path, b: Builder, *messages: str, request: str = "u*") -> None:
    (folder / "m.onnx").write_bytes(b.model().SerializeToString())
    done = programs.run(programs.mtlc, folder / "m.onnx", "--request", request, "--emit-towers", folder / "m")
    check_refused(done, *messages)
    check_holds(folder, "m.onnx")


def test_the_first_layer_mixes(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    x = b.node("Concat", *both(b), axis=1)
    h = layer(b, x, "mixed", 24, 64)
    out(b, "y", layer(b, h, "head", 64, 1, None))
    refused(programs, tmp_path, b, "nothing is worth storing", "'x'", "'u'")


def test_element_wise_functions_are_not_worth_it(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    u, x = both(b)
    x = b.node("Tanh", x)
    out(b, "y", layer(b, b.node("Concat", u, x, axis=1), "mixed", 24, 64))
    refused(programs, tmp_path, b, "nothing is worth storing")


def test_no_user(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    dot(b)
    refused(programs, tmp_path, b, "no output depends on an input that is the same", request="none")


def test_outputs_of_the_item_alone(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    _, x = both(b)
    out(b, "y", tower(b, x, "item"))
    refused(programs, tmp_path, b, "no output depends on an input that is the same")


def test_outputs_of_the_user_alone(programs: Programs, tmp_path: Path) -> None:
    b = Builder(17)
    u, _ = both(b)
    out(b, "y", tower(b, u, "user"))
    refused(programs, tmp_path, b, "no output depends on an input that differs between candidates")


@pytest.mark.parametrize("options", [("-o", "plan"), ("--evaluate", "in.npz", "-o", "out.npz")])
def test_options_that_do_not_go_together(programs: Programs, tmp_path: Path, options: tuple[str, ...]) -> None:
    done = programs.run(programs.mtlc, "m.onnx", "--emit-towers", tmp_path / "m", *options)
    check_refused(done, "--emit-towers goes without")


# --- writing ----------------------------------------------------------------------------------------------------


def written(programs: Programs, folder: Path, prefix: Path, **options):
    b = Builder(17)
    over_concat(b)
    (folder / "m.onnx").write_bytes(b.model().SerializeToString())
    return programs.run(
        programs.mtlc, folder / "m.onnx", "--request", "u*", "--emit-towers", prefix, **options
    )


def test_no_such_folder(programs: Programs, tmp_path: Path) -> None:
    check_refused(written(programs, tmp_path, tmp_path / "missing" / "m"), "missing/m.user.plan")
    check_holds(tmp_path, "m.onnx")


@pytest.mark.parametrize("part", PARTS)
def test_a_path_is_a_folder(programs: Programs, tmp_path: Path, part: str) -> None:
    (tmp_path / f"m.{part}.plan").mkdir()
    check_refused(written(programs, tmp_path, tmp_path / "m"), f"m.{part}.plan")
    check_holds(tmp_path, "m.onnx", f"m.{part}.plan")


def test_the_old_plans_survive(programs: Programs, tmp_path: Path) -> None:
    assert written(programs, tmp_path, tmp_path / "m").returncode == 0
    old = [(tmp_path / f"m.{part}.plan").read_bytes() for part in PARTS]
    small = min(map(len, old)) - 1
    done = written(
        programs, tmp_path, tmp_path / "m", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (small, small))
    )
    check_refused(done, ".plan")
    assert [(tmp_path / f"m.{part}.plan").read_bytes() for part in PARTS] == old
    check_holds(tmp_path, "m.onnx", *(f"m.{part}.plan" for part in PARTS))
