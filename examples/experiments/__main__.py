"""All experiments, one after the other.

python -m examples.experiments [--only NAME,...] [--again] [--docs]

Results are kept as JSON in build/experiments/; what is there is not run again unless --again says
so. --docs writes the tables of these experiments into docs/experiments.md.
"""

from __future__ import annotations

import sys
from dataclasses import asdict

from examples.experiments import (
    common,
    dtrn_cost,
    dtrn_parts,
    one_more,
    order,
    regions,
    transfer,
)
from examples.training.compiled import ROOT

EXPERIMENTS = {
    "regions": regions,
    "transfer": transfer,
    "order": order,
    "one_more": one_more,
    "dtrn_parts": dtrn_parts,
    "dtrn_cost": dtrn_cost,
}
PAGE = ROOT / "docs" / "experiments.md"
START, END = "<!-- results -->", "<!-- end of the results -->"


def write_page(text: str) -> None:
    """Between the two marks of docs/experiments.md. ValueError where they are missing."""
    page = PAGE.read_text()
    if page.count(START) != 1 or page.count(END) != 1:
        raise ValueError(f"{PAGE.relative_to(ROOT)} has no place for results ({START} ... {END})")
    before, rest = page.split(START)
    PAGE.write_text(f"{before}{START}\n{text}{END}{rest.split(END)[1]}")


def main() -> int:
    made = common.parser(__doc__.splitlines()[0])
    made.add_argument("--only", metavar="NAME,...", help=f"some of {', '.join(EXPERIMENTS)}")
    made.add_argument("--again", action="store_true", help="what has results too")
    made.add_argument("--docs", action="store_true", help="write docs/experiments.md")
    words = made.parse_args()
    given = common.given_of(made, words)
    names = words.only.split(",") if words.only else list(EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            made.error(f"--only: no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    for name in names:
        stored = common.load(name)
        if words.again or stored is None or stored["given"] != asdict(given):
            stored = common.run(name, EXPERIMENTS[name], given)
        print(common.markdown(stored), flush=True)
    if words.docs:
        shown = [common.load(name) for name in names]
        write_page("\n".join(common.markdown(s) + common.sizes(s) for s in shown if s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
