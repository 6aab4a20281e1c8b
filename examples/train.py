"""Trains a ranker of the zoo, exports, compiles and scores it, and writes a report.

    python -m examples.train --model mmoe
    python -m examples.train --all --seeds 5 --docs

`--help` lists the rest; docs/training.md explains it. The pieces are in examples/training/.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

NEEDED = {
    "torch": "torch",
    "onnxscript": "onnxscript",
    "sklearn": "scikit-learn",
    "scipy": "scipy",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "tqdm": "tqdm",
}


def show_list() -> None:
    from examples.data.planted import worlds
    from examples.zoo.registry import RANKERS

    width = max(map(len, RANKERS))
    for name, entry in RANKERS.items():
        worlds_of = (
            f" (expected to beat single-task models on {', '.join(entry.beats)})"
            if entry.beats
            else ""
        )
        print(f"{name:{width}}  {entry.title}{worlds_of}")
    print(f"worlds: {', '.join(worlds())}")


def check_names(given: argparse.Namespace) -> None:
    """ValueError for a model or a world that is not there."""
    from examples.data.planted import worlds
    from examples.zoo.registry import RANKERS

    models = [*given.against, *given.models, *([given.model] if given.model else [])]
    for name in models:
        if name not in RANKERS:
            raise ValueError(f"no ranker {name!r}; there are {', '.join(RANKERS)}")
    for name in [*given.worlds, *([given.world] if given.world else [])]:
        if name not in worlds():
            raise ValueError(f"no world {name!r}; there are {', '.join(worlds())}")
    if given.seed < 0:
        raise ValueError(f"--seed {given.seed}: 0 or more")
    if given.all and given.data:
        raise ValueError("--all trains on planted data")
    if given.all and given.model:
        raise ValueError("--all is every model: --models M,... chooses some")
    if not given.all and not given.model:
        raise ValueError("--model M, --all or --list: one of them must be there")


def show_scores(trained, baseline) -> None:
    width = max(len(name) for name in trained.result.tasks)
    for name, values in trained.result.tasks.items():
        alone = baseline.tasks[name]
        shown = [f"quality {values['quality']:.4f} ({values['quality'] - alone['quality']:+.4f})"]
        for metric in ("AUC", "grouped AUC", "NDCG", "log loss", "calibration", "R2", "accuracy"):
            if metric in values:
                shown.append(f"{metric} {values[metric]:.4f}")
        print(f"  {name:{width}}  " + "  ".join(shown))


def data(given: argparse.Namespace):
    """The World to train on: planted, or of a public format, which brings its own rows."""
    from examples.data.planted import make
    from examples.data.readers import READERS, open_world
    from examples.training import runs

    if given.data is None:
        return make(given.world or runs.named_worlds(given.model)[0], given.rows, given.seed)
    if given.world:
        raise ValueError("--data or --world, not both")
    format, equals, folder = given.data.partition("=")
    if not equals or format not in READERS:
        raise ValueError(f"--data {given.data}: FORMAT=FOLDER, FORMAT one of {', '.join(READERS)}")
    world = open_world(format, folder)
    given.rows = len(world.train)
    for note in world.notes:
        print(f"  {note}")
    return world


def train_one(given: argparse.Namespace) -> int:
    """0 if the compiled models score as PyTorch does, else 1."""
    from examples.data.vocabulary import save
    from examples.training import arguments, runs

    world = data(given)
    name = world.name
    options = arguments.options(given, [task.name for task in world.tasks])
    folder = runs.place(given.folder, given.model, name, given.rows, options)
    print(
        f"{given.model} on {name}: {given.rows:,} rows, tasks {', '.join(t.name for t in world.tasks)}"
    )
    trained = runs.train(
        given.model, world, options, given.rows, folder, given.resume, not given.quiet
    )
    baseline, _ = runs.train_baseline(world, options, given.rows)
    others = runs.earlier(given.folder, name, given.rows, given.seed)
    for model in given.against:
        other = runs.train(model, world, options, given.rows, grouped=False).result
        other.save(runs.place(given.folder, model, name, given.rows, options) / "result.json")
        others.append(other)
    result = trained.result
    print(
        f"  {result.parameters:,} parameters, {result.epochs} epochs, {result.seconds:.1f} s; "
        "beside single-task models:"
    )
    show_scores(trained, baseline)
    found = runs.check(trained, folder)
    for one in found:
        fate = one.error or (
            f"{one.nodes} nodes became {one.steps} steps; largest difference {one.difference:.1e}"
        )
        print(f"  {one.exporter} opset {one.opset or '?'}: {fate}")
    result.save(folder / "result.json")
    if world.vocabularies:
        save(world.vocabularies, folder / "vocabularies.json")
    if not given.no_report:
        from examples.training import report

        report.write(folder / "report.html", trained, baseline, others, found)
        print(f"  {folder / 'report.html'}")
    if all(one.equal for one in found):
        print("  all agree within 1e-5")
        return 0
    print("train: the compiled models do not agree with PyTorch within 1e-5", file=sys.stderr)
    return 1


def main() -> int:
    missing = [package for name, package in NEEDED.items() if not importlib.util.find_spec(name)]
    if missing:
        print(
            f"train: needs {', '.join(missing)} (pip install -r requirements-train.txt, or ./dev train)",
            file=sys.stderr,
        )
        return 2
    from examples.training import arguments

    given = arguments.parser().parse_args()
    import torch

    torch.set_num_threads(1)  # products so small that threads would only wait for each other
    if given.list:
        show_list()
        return 0
    try:
        check_names(given)
        if given.all:
            from examples.training import table

            return table.run(given)
        return train_one(given)
    except (ValueError, FloatingPointError, OSError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train: interrupted; --resume, or --all again, goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
