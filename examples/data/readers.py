"""The public formats by name.

python -m examples.data.readers FORMAT FOLDER [--vocabularies FILE]

reads the data, tells what they hold, and writes the vocabularies (.json or .npz) that serving
needs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from examples.data import World, aliccp, aliexpress, kuairand, movielens
from examples.data.tables import DataError
from examples.data.vocabulary import save

READERS: dict[str, Callable[..., World]] = {
    "ali-ccp": aliccp.read,
    "aliexpress": aliexpress.read,
    "kuairand-pure": kuairand.read,
    "movielens-1m": movielens.read,
}


def open_world(format: str, folder: str | Path, **options) -> World:
    """A World of the data in `folder`; `options` are those of the format's own read()."""
    if format not in READERS:
        raise ValueError(f"no format is called {format!r}; there are {', '.join(READERS)}")
    return READERS[format](folder, **options)


def describe(world: World) -> str:
    """Rows, tasks and fields, one a line."""
    lines = [f"{world.name}"]
    for name in ("train", "valid", "test"):
        split = getattr(world, name)
        means = split.labels.nanmean(dim=0).tolist()
        labels = ", ".join(f"{t.name} {mean:.4g}" for t, mean in zip(world.tasks, means))
        lines.append(f"{name:6} {len(split):>10,} rows; means: {labels}")
    lines += [f"{type(field).__name__:9} {field}" for field in world.schema]
    return "\n".join([*lines, *world.notes])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("format", choices=list(READERS), metavar="FORMAT")
    parser.add_argument("folder", metavar="FOLDER", help=f"FORMAT is one of {', '.join(READERS)}")
    parser.add_argument("--vocabularies", metavar="FILE", help=".json or .npz to write")
    arguments = parser.parse_args()
    try:
        world = open_world(arguments.format, arguments.folder)
        if arguments.vocabularies:
            save(world.vocabularies, arguments.vocabularies)
    except (DataError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(describe(world))
    return 0


if __name__ == "__main__":
    sys.exit(main())
