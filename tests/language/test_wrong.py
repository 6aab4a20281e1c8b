"""Wrong rankers, one for each rule: where the error is, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Programs

# Text, line:column of the first error, what it says. X stands for a ranker that is right so far.
X = "ranker r\ntasks a, b\ninput x: dense(4)\ninput u: id(9)\n"
WRONG = [
    ("ranker\n", "1:7", "expected the ranker's name, found the end of the line"),
    ("ranker 3\n", "1:8", "expected the ranker's name, found 3"),
    ("tasks\n", "1:6", "expected a task's name"),
    ("tasks a,\n", "1:9", "expected a task's name"),
    ("tasks a, a\noutput a = 1\n", "1:10", "'a' is declared twice"),
    ("tasks a: 3\n", "1:10", "expected the task's kind"),
    ("input x\n", "1:8", "expected ':'"),
    ("input x: 3\n", "1:10", "expected the input's kind: dense(WIDTH)"),
    ("input x: dense(0)\n", "1:16", "expected a whole number above 0, found 0"),
    ("input x: dense()\n", "1:10", "'dense' needs its argument 'width'"),
    ("input x: dense(3, 4)\n", "1:19", "'dense' has no such argument"),
    ("input x: densa(3)\n", "1:10", "there is no 'densa'; did you mean 'dense'?"),
    ("input x: bag(9)\n", "1:10", "'bag' needs its argument 'length'"),
    (X + "input x: id(3)\n", "5:1", "the name is taken"),
    (X + "use blocks\n", "5:5", "expected a file's name in quotes"),
    (X + 'use "a{x}.mtl"\n', "5:5", "without braces"),
    (X + 'use "missing.mtl"\n', "5:1", "missing.mtl"),
    (X + "block\n", "5:6", "expected the block's name"),
    (X + "block f {\n}\n", "5:9", "expected '('"),
    (X + "block f(3) {\n}\n", "5:9", "expected a parameter's name, found 3"),
    (X + "block f(y)\n", "5:11", "expected '{'"),
    (X + "block f(y) {\n", "5:12", "this '{' has no '}'"),
    (X + "block f(y) { return y }\nblock f(y) { return y }\n", "6:1", "there are two blocks 'f'"),
    (X + "block f(y) {\n  input z: id(3)\n}\n", "6:3", "expected a value, found the word 'input'"),
    (X + "}\n", "5:1", "this '}' closes nothing"),
    (X + "y = \n", "5:5", "expected a value, found the end of the line"),
    (X + "y = x x\n", "5:7", "expected the end of the line, found x"),
    (X + "3 = x\n", "5:1", "expected a name before '='"),
    (X + "y, 3 = x\n", "5:4", "expected a name, found 3"),
    (X + "y = (x\n", "5:5", "this '(' has no ')'"),
    (X + "y = [x\n", "5:5", "this '[' has no ']'"),
    (X + "y = x[0\nz = 3\n", "5:6", "this '[' has no ']'"),
    (X + "y = relu(x\nz = 3\n", "5:9", "this '(' has no ')'"),
    (X + "y = 1 < 2 < 3\n", "5:11", "'<' cannot follow '<': use parentheses, or 'and'"),
    (X + "y = not\n", "5:8", "expected a value"),
    (X + "y = 1 +\n", "5:8", "expected a value"),
    (X + "y = x.\n", "5:7", "expected a name behind '.'"),
    (X + "y = 12a\n", "5:5", "this is no number that can be had"),
    (X + "y = 1e999\n", "5:5", "this is no number that can be had"),
    (X + "y = 99999999999999999999\n", "5:5", "this is no number that can be had"),
    (X + "y = 0x10\n", "5:5", "this is no number that can be had"),
    (X + 'y = "abc\n', "5:5", "this string has no end on its line"),
    (X + 'y = "a{x"\n', "5:7", "this '{' has no '}' in its string"),
    (X + 'y = "a}"\n', "5:7", "this '}' has no '{' before it"),
    (X + 'y = "a{}"\n', "5:8", "expected a value, found the end of the text"),
    (X + 'y = "a{1 2}"\n', "5:10", "expected '}', found 2"),
    (X + 'y = "a\\n"\n', "5:7", "behind a backslash stands one of"),
    (X + 'y = "{x}"\n', "5:7", "a tensor f32[B, 4] cannot be part of a string"),
    (X + "y = x ? 3\n", "5:7", "this character has no meaning here"),
    (X + "é = 3\n", "5:1", "this character has no meaning here"),
    (X + "for i 3 { }\n", "5:7", "expected 'in', found 3"),
    (X + "for i in 3 { }\n", "5:10", "expected a list, found 3"),
    (X + "for i, j in 0..3 { }\n", "5:5", "2 names for 0"),
    (X + "for i in 0..3 { y = z }\n", "5:21", "there is no 'z'"),
    (X + "if 3 { }\n", "5:4", "expected true or false, found 3"),
    (X + "if x > 0 { }\n", "5:4", "expected true or false, found a tensor"),
    (X + "return x\n", "5:1", "'return' stands in a block"),
    (X + "output\n", "5:7", "expected the output's name"),
    (X + "output a\n", "5:9", "expected '='"),
    (X + "output a = 3\n", "5:12", "expected a tensor, found 3"),
    (X + "output x = x\n", "5:8", "expected a task or a name in quotes, found a tensor"),
    (X + "output c = x\n", "5:8", "there is no 'c'"),
    (X + "output a = x\noutput a = x\n", "6:8", "there are two outputs 'a'"),
    (X, "5:1", "the ranker has no outputs"),
    ("", "1:1", "the ranker has no outputs"),
    (X + "y = reul(x)\n", "5:5", "there is no 'reul'; did you mean 'relu'?"),
    (X + "y = mlp(x, [3])\n", "5:5", "'mlp' needs its argument 'name'"),
    (X + 'y = mlp(x, [3], "n", widths=[3])\n', "5:22", "'mlp' has its argument 'widths' twice"),
    (X + 'y = mlp(x, [3], "n", depth=3)\n', "5:22", "'mlp' has no argument 'depth'"),
    (X + 'y = gate(x, 3, "n", 4)\n', "5:21", "'gate' takes 3 arguments"),
    (X + 'y = gate(n=3, x)\n', "5:15", "an argument without a name stands before those with one"),
    (X + "y = len(x)\n", "5:9", "expected a list, found a tensor f32[B, 4]"),
    (X + "y = x(3)\n", "5:5", "a tensor f32[B, 4] cannot be called"),
    (X + "y = [1, 2](3)\n", "5:5", "a list of 2 cannot be called"),
    (X + "y = [1, 2][2]\n", "5:12", "index 2 of a list of 2"),
    (X + "y = [1, 2][0:1]\n", "5:5", "a list takes one index"),
    (X + "y = x[:, 4]\n", "5:5", "axis 1 has 4 elements"),
    (X + "y = x[:, 3:2]\n", "5:5", "axis 1 has 4 elements"),
    (X + "y = x[0]\n", "5:5", "axis 0 holds the candidates"),
    (X + "y = x[:, 0, 0]\n", "5:5", "3 indices of a tensor f32[B, 4]"),
    (X + "y = 3[0]\n", "5:5", "3 has no parts"),
    (X + "y = x.length\n", "5:5", "a tensor f32[B, 4] has no 'length'"),
    (X + "y = a.length\n", "5:5", "the task 'a' has no 'length'"),
    (X + 'y = x + "s"\n', "5:5", "expected a tensor or a number, found the string"),
    (X + 'y = 3 + "s"\n', "5:5", "expected a tensor or a number, found the string"),
    (X + "y = 3 / 0\n", "5:5", "division by 0"),
    (X + "y = 3 % 0\n", "5:5", "'%' takes whole numbers"),
    (X + "y = 9223372036854775807 + 1\n", "5:5", "the result is out of range"),
    (X + "y = a < b\n", "5:5", "'<' does not compare the task 'a' and the task 'b'"),
    (X + "y = 0..100000\n", "5:5", "a list of 100000 items, expected at most 65536"),
    (X + "y = 0..x\n", "5:5", "a range goes from one whole number to another"),
    (X + "y = softmax(x)\n", "5:5", "softmax"),
    (X + "y = softmax(x, axis=2)\n", "5:5", "axis 2 is out of range for rank 2"),
    (X + "y = softmax(x, axes=1)\n", "5:16", "'softmax' takes no 'axes'"),
    (X + 'y = softmax(x, axis="1")\n', "5:16", "'axis' is the string \"1\", expected a whole number"),
    (X + "y = matmul(x, x)\n", "5:5", "matmul"),
    (X + "y = x + u\n", "5:5", "add"),
    (X + "y = reshape(x, [3])\n", "5:5", "reshape"),
    (X + 'y = reshape(x, ["a"])\n', "5:16", "expected extents, found the string"),
    (X + "y = concat([x, u], axis=1)\n", "5:5", "concat"),
    (X + 'y = weight(3, [3])\n', "5:12", "expected the weight's name, found 3"),
    (X + 'y = weight("w", [65536, 65536])\n', "5:5", "more than 2^31 elements"),
    (X + 'y = weight("w", 3)\n', "5:17", "expected a list of extents"),
    (X + 'check(width(x) == 5, "five columns, please")\n', "5:1", "five columns, please"),
    (X + 'y = activate(x, "rule")\n', "5:5", "activate: there is no activation \"rule\""),
    (X + "block f(y) { return f(y) }\nz = f(x)\n", "5:21", "blocks call each other more than 64 deep"),
    (X + "block f(y) { return x }\nz = f(x)\n", "5:21", "there is no 'x'"),
    (X + "y = " + "(" * 300 + "x" + ")" * 300 + "\n", "5:205", "more than 200 levels"),
]  # fmt: skip


def wrong(programs: Programs, text: str, folder: Path) -> tuple[str, ...]:
    path, plan = folder / "ranker.mtl", folder / "plan.bin"
    path.write_text(text, encoding="utf-8")
    done = programs.run(programs.mtlc, path, "--init", "1", "-o", plan)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert not plan.exists()
    return tuple(done.stderr.splitlines())


@pytest.mark.parametrize(("text", "place", "message"), WRONG, ids=range(len(WRONG)))
def test_each_rule(
    programs: Programs, text: str, place: str, message: str, tmp_path: Path
) -> None:
    lines = wrong(programs, text, tmp_path)
    assert lines[0].startswith(f"{tmp_path}/ranker.mtl:{place}: error: "), lines[0]
    assert message in lines[0]
    line = int(place.split(":")[0])
    written = (text.splitlines() or [""])[line - 1 :][:1] or [""]
    assert lines[1] == f"{line:5} | {written[0]}"
    assert lines[2].startswith("      | ") and "^" in lines[2]
    assert lines[-1].startswith("mtlc: ")


def test_several_at_once(programs: Programs, tmp_path: Path) -> None:
    text = X + "y = reul(x)\nz = y + 1\nw = [1][3]\noutput a = sigmod(x)\n"
    lines = wrong(programs, text, tmp_path)
    places = [line.split(":")[1:3] for line in lines if ": error: " in line]
    assert places == [["5", "5"], ["7", "9"], ["8", "12"]]  # z is wrong because y is
    assert lines[-1].endswith("(and 2 more)")


def test_carets_stand_under_what_is_wrong(programs: Programs, tmp_path: Path) -> None:
    lines = wrong(programs, X + "y = relu(experst)\noutput a = x\n", tmp_path)
    assert list(lines[1:3]) == ["    5 | y = relu(experst)", "      |          ^~~~~~~"]


def test_without_weights(programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "r.mtl"
    path.write_text(X + 'output a = linear(x, 1, "h")\n', encoding="utf-8")
    done = programs.run(programs.mtlc, path)
    assert done.returncode == 1
    assert "linear: there are no weights to take 'h.weight' from" in done.stderr
