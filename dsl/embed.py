"""Writes a text file as a C string: embed.py IN OUT NAME."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    source, target, name = sys.argv[1:]
    lines = Path(source).read_text(encoding="utf-8").splitlines()
    quoted = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    body = "\n".join(f'    "{line}\\n"' for line in quoted)
    text = f'#include "dsl/elaborate.h"\n\nconst char {name}[] =\n{body};\n'
    Path(target).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
