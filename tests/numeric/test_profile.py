"""`mtlrun bench --profile`, its trace, and `mtlrun machine`: the numbers add up and the names are those
of `info`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness import Fixture, Programs, isas, manifest, names

RANKERS = [
    fixture
    for fixture in manifest()
    if fixture.model in ("trained_mmoe_ts17.onnx", "trained_ple_ts17.onnx", "head-stack_dyn23.onnx")
]
ROWS = (1, 16, 300)
TILE = 64


@pytest.fixture(params=RANKERS, ids=names(RANKERS))
def plan(programs: Programs, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    fixture: Fixture = request.param
    return programs.compile(fixture.path, tmp_path / "plan.bin", *fixture.options)


def profile(programs: Programs, plan: Path, *options: str | Path) -> dict:
    words = ("bench", plan, "--profile", "--json", "--seconds", "0.05", *options)
    return json.loads(programs.ok(programs.mtlrun, *words))


def test_the_set_is_not_empty() -> None:
    assert len(RANKERS) == 3


def test_a_profile_adds_up(programs: Programs, plan: Path) -> None:
    info = programs.info(plan)
    found = profile(programs, plan, "--rows", "1,16,300", "--tile-rows", str(TILE))
    assert [run["rows"] for run in found["profiles"]] == list(ROWS)
    machine = found["machine"]
    for run in found["profiles"]:
        rows, tiles = run["rows"], -(-run["rows"] // TILE)
        assert (run["tile_rows"], run["tiles"]) == (TILE, tiles)
        assert run["calls"] >= 3 and run["call_us"] > 0
        assert len(run["steps"]) == len(info["steps"])
        assert sum(step["share"] for step in run["steps"]) == pytest.approx(1)
        assert sum(step["ns"] for step in run["steps"]) == pytest.approx(run["steps_us"] * 1e3)
        for step, known in zip(run["steps"], info["steps"], strict=True):
            for key in ("index", "program", "op", "function", "label", "kernel"):
                assert step[key] == known[key]
            times = tiles if known["program"] == "row" else 1
            for key in ("flops", "bytes"):
                assert (
                    step[key] == known[f"{key}_fixed"] * times + known[f"{key}_per_row"] * rows
                ), (key, known["label"])
            assert step["bytes"] == step["weight_bytes"] + step["activation_bytes"]
            assert 0 <= step["share"] <= 1
            if step["ns"] > 0:
                assert step["gflops_per_second"] == pytest.approx(step["flops"] / step["ns"])
                assert step["gb_per_second"] == pytest.approx(step["bytes"] / step["ns"])
                assert step["roofline"] == pytest.approx(step["least_ns"] / step["ns"])
            if step["bound"] == "flops":
                assert step["least_ns"] == pytest.approx(step["flops"] / machine["flops"] * 1e9)
            assert step["least_ns"] >= step["flops"] / machine["flops"] * 1e9 * 0.999
        total = run["total"]
        for key in ("ns", "flops", "bytes", "weight_bytes", "activation_bytes", "least_ns"):
            assert total[key] == pytest.approx(sum(step[key] for step in run["steps"])), key


def test_linear_layers_are_counted_by_their_shapes(programs: Programs, plan: Path) -> None:
    """Weights in panels of 16 columns, read once a tile; two FLOPs a weight and row."""
    info = programs.info(plan)
    found = profile(programs, plan, "--rows", "300", "--tile-rows", str(TILE))["profiles"][0]
    tiles, seen = -(-300 // TILE), 0
    for step, known in zip(found["steps"], info["steps"], strict=True):
        if known["op"] != "linear":
            continue
        groups, k, n = known["inputs"][1]["shape"]
        bias = len(known["inputs"]) > 2 and known["inputs"][2] is not None
        padded = -(-n // 16) * 16
        assert step["weight_bytes"] == tiles * 4 * groups * padded * (k + bias)
        assert step["flops"] == 300 * groups * n * (2 * k + bias + (known["function"] != ""))
        seen += 1
    assert seen > 0


def test_the_table_says_the_same(programs: Programs, plan: Path) -> None:
    words = ("bench", plan, "--profile", "--seconds", "0.05", "--rows", "16")
    text = programs.ok(programs.mtlrun, *words)
    info = programs.info(plan)
    lines = [line for line in text.splitlines() if line.rstrip().endswith(info["steps"][0]["label"])]
    assert len(lines) == 1 and info["steps"][0]["kernel"] in lines[0]
    assert "16 rows:" in text and "\n all " in text


def inside(inner: dict, outer: dict) -> bool:
    """Times are microseconds printed from whole nanoseconds."""
    slack = 1e-4
    return (
        inner["ts"] >= outer["ts"] - slack
        and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"] + slack
    )


def test_a_trace_nests(programs: Programs, plan: Path, tmp_path: Path) -> None:
    info = programs.info(plan)
    file = tmp_path / "trace.json"
    profile(programs, plan, "--rows", "1,150", "--tile-rows", str(TILE), "--trace", file)
    events = json.loads(file.read_text())["traceEvents"]
    assert all(event["ph"] == "X" and event["dur"] >= 0 for event in events)
    kinds = {kind: [e for e in events if e["cat"] == kind] for kind in ("call", "tile", "step")}
    assert sum(map(len, kinds.values())) == len(events)
    assert {call["args"]["rows"] for call in kinds["call"]} == {1, 150}
    for call in kinds["call"]:
        tiles = [tile for tile in kinds["tile"] if inside(tile, call)]
        rows = [tile["args"]["rows"] for tile in tiles if "tile" in tile["args"]]
        assert rows == ([1] if call["args"]["rows"] == 1 else [50, 50, 50])
        for tile in tiles:
            steps = [step for step in kinds["step"] if inside(step, tile)]
            program = "row" if "tile" in tile["args"] else "request"
            wanted = [step for step in info["steps"] if step["program"] == program]
            assert [step["args"]["step"] for step in steps] == [step["index"] for step in wanted]
            end = tile["ts"]
            for step, known in zip(steps, wanted, strict=True):
                assert step["ts"] >= end - 1e-4, "steps of one thread overlap"
                end = step["ts"] + step["dur"]
                assert step["name"] == step["args"]["label"] == known["label"]
                assert step["args"]["kernel"] == known["kernel"]
                assert step["args"]["rows"] == tile["args"]["rows"]
                assert step["args"].get("tile") == tile["args"].get("tile")
    assert len(kinds["call"]) >= 2


@pytest.mark.parametrize("isa", isas())
def test_machine_tells_its_speeds(programs: Programs, isa: str) -> None:
    found = json.loads(programs.ok(programs.mtlrun, "machine", "--json", "--isa", isa))
    assert found["isa"] == isa
    assert found["flops"] > 1e8
    sizes = [entry["bytes"] for entry in found["read"]]
    assert sizes == sorted(sizes) and len(set(sizes)) == len(sizes) >= 2
    assert all(entry["bytes_per_second"] > 1e8 for entry in found["read"])
    assert found["read"][-1]["level"] == "memory"
    for entry in found["read"][:-1]:
        assert entry["bytes"] <= found["caches"][entry["level"]]
    assert "GFLOP/s" in programs.ok(programs.mtlrun, "machine")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("bench", "PLAN", "--profile", "--threads", "2"), "--profile times the steps of one thread"),
        (("bench", "PLAN", "--trace", "MISSING/trace.json"), "MISSING/trace.json: cannot write"),
        (("bench", "PLAN", "--profile", "--rows", "0"), "--rows is '0'"),
        (("bench", "PLAN", "--trace"), "--trace"),
        (("machine", "extra"), "'extra' is not expected"),
        (("machine", "--isa", "sse9"), "--isa is 'sse9'"),
    ],
)
def test_bad_options_are_one_line(
    programs: Programs, words: tuple[str, ...], wanted: str, tmp_path: Path
) -> None:
    plan = programs.compile(RANKERS[0].path, tmp_path / "plan.bin", *RANKERS[0].options)
    missing = str(tmp_path / "none")
    done = programs.run(
        programs.mtlrun,
        *(str(plan) if word == "PLAN" else word.replace("MISSING", missing) for word in words),
    )
    assert done.returncode == 1 and done.stdout == ""
    assert wanted.replace("MISSING", missing) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_told(programs: Programs, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    plan = programs.compile(RANKERS[0].path, tmp_path / "plan.bin", *RANKERS[0].options)
    words = ("bench", plan, "--rows", "1", "--seconds", "0.05", "--trace", "/dev/full")
    done = programs.run(programs.mtlrun, *words)
    assert done.returncode == 1
    assert "/dev/full: cannot write" in done.stderr and done.stderr.count("\n") == 1
