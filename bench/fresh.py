"""One runtime in a fresh process:

python -m bench.fresh try|load|memory RUNTIME MODEL FOLDER fixed|any ROWS THREADS

try: whether the model loads and runs at all, which the exit status says. load: the library is
loaded, then the time from opening the model's file (which is in the page cache) to the first
scores. memory: the library has run another, tiny, model; then what opening this one and scoring
adds to the process. Prints one JSON object.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from bench.models import FILES, TINY, Model
from bench.runtimes import OURS, RUNTIMES, Batch


def _rollup() -> dict[str, int]:
    """Resident bytes of this process."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return {key: int(kb) << 10 for key, kb in re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.M)}


def _resident(file: Path) -> int:
    """Resident bytes of the maps of one file."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(file))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) << 10
    return total


def _touch(file: Path) -> None:
    with file.open("rb") as stream:
        while stream.read(1 << 20):
            pass


def run_once(
    runtime: object, file: Path, model: Model, batch: Batch, threads: int, fixed: bool
) -> tuple[object, ...]:
    """Loads and scores; what is still there then, the loaded model first."""
    loaded = runtime.load(file, threads, batch if fixed else None)
    call, scores = loaded.runner([batch], model.outputs)
    call(0)
    return loaded, call, scores


def main() -> None:
    what, name, model_name, folder, shapes, rows, threads = sys.argv[1:]
    runtime, model, fixed = RUNTIMES[name](), FILES[model_name], shapes == "fixed"
    file, tiny = (Path(folder) / (stem + runtime.suffix) for stem in (model_name, "tiny"))
    batch = model.inputs(int(rows), seed=1)
    result: dict[str, object] = {}
    warm = None
    if what == "memory":
        warm = run_once(runtime, tiny, TINY, TINY.inputs(1, seed=1), 1, False)
        _rollup(), _resident(file)  # what reading them allocates
    _touch(file)
    before, start = _rollup(), time.perf_counter()
    loaded, *kept = run_once(runtime, file, model, batch, int(threads), fixed)
    took, after = time.perf_counter() - start, _rollup()
    if what == "load":
        result["seconds"] = took
    elif what == "memory":
        result = {key.lower(): after[key] - before[key] for key in after}
        if runtime.name == OURS:
            result["plan_resident"] = _resident(file)
            result["workspace"] = loaded.session.workspace_bytes()
    del warm, kept
    print(json.dumps(result))


if __name__ == "__main__":
    main()
