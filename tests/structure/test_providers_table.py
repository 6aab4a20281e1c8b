"""runtime/providers.def is what its tool made: every row can be reached, and none breaks what the default promises."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(
    r"PROVIDER\((\w+), (\w+), (\d+), (\d+), (NATIVE|ONEDNN)\)"
    r" /\* (?:([\d.]+):(?: [\d.]+){6}; (equal|others); (\d+); \S+|oneDNN has only reference code) \*/"
)


def rows() -> list[tuple]:
    lines = [line for line in (ROOT / "runtime" / "providers.def").read_text().splitlines() if line.startswith("PROVIDER")]
    found = [ROW.fullmatch(line) for line in lines]
    assert lines and all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    return [match.groups() for match in found]


def test_onednn_is_chosen_only_where_the_default_allows_it() -> None:
    for op, isa, _, _, provider, mean, bits, allocations in rows():
        if provider == "ONEDNN":
            assert float(mean) >= 1.05 and bits == "equal" and allocations == "0", f"{op} on {isa}"


def test_every_row_is_reached_and_every_shape_has_one() -> None:
    seen: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for op, isa, k, n, *_ in rows():
        earlier = seen.setdefault((op, isa), [])
        assert not any(k0 <= int(k) and n0 <= int(n) for k0, n0 in earlier), f"{op} on {isa}: {k} x {n} comes too late"
        earlier.append((int(k), int(n)))
    assert {isa for _, isa in seen} == {"AVX512", "AVX2", "GENERIC"}
    assert all((0, 0) in shapes for shapes in seen.values())
