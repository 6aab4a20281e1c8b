"""Models exported with one user and many candidates, by both exporters: the users are found through attention,
transformer layers, GRUs and lookups, and each user's candidates score as PyTorch scores them. Needs PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.harness import Programs, check_close, check_same_bits

torch = pytest.importorskip("torch", reason="the tests of exported users need PyTorch")
pytest.importorskip("onnxscript", reason="the dynamo exporter needs onnxscript")

from torch import nn  # noqa: E402

WIDTH, PLACES, USERS = 16, 5, 3
USER = np.array([2, 0, 1, 1, 0, 2, 1, 0], np.int32)


class Ranker(nn.Module):
    """u: one user, (1, 16), (1, 5, 16) or ids (1, 5); x: candidates (B, 8). Scores (B, 1)."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.table = nn.Embedding(50, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True, dropout=0.0)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.tower = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(WIDTH + 8, 16), nn.ReLU(), nn.Linear(16, 1))

    def user(self, u: torch.Tensor) -> torch.Tensor:
        if self.kind == "ids":
            return self.layer(self.table(u)).mean(1)
        if self.kind == "transformer":
            return self.layer(u).mean(1)
        if self.kind == "attention":
            return self.attention(u, u, u, need_weights=False)[0].mean(1)
        if self.kind == "gru":
            return self.gru(u)[0][:, -1]
        return self.tower(u)

    def forward(self, u: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        mine, rows = self.user(u), x.shape[0]
        copies = mine.repeat(rows, 1) if self.kind == "repeat" else mine.expand(rows, -1)
        return self.head(torch.cat([copies, x], 1))


def export(module: nn.Module, inputs: tuple[torch.Tensor, ...], exporter: str, path: Path) -> None:
    names = {"input_names": ["u", "x"], "output_names": ["y"]}
    if exporter == "dynamo":
        shapes = {"u": None, "x": {0: torch.export.Dim("B")}}
        torch.onnx.export(module, inputs, path, dynamo=True, external_data=False, dynamic_shapes=shapes, **names)
    else:
        axes = {"x": {0: "B"}}
        torch.onnx.export(module, inputs, path, dynamo=False, opset_version=17, dynamic_axes=axes, **names)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("kind", ["expand", "repeat", "ids", "transformer", "attention", "gru"])
@pytest.mark.filterwarnings("ignore")
def test_users_are_found(programs: Programs, tmp_path: Path, kind: str, exporter: str) -> None:
    torch.manual_seed(3)
    module = Ranker(kind).eval()
    if kind == "ids":
        users = torch.randint(0, 50, (USERS, PLACES))
    else:
        users = torch.randn(USERS, *(() if kind in ("expand", "repeat") else (PLACES,)), WIDTH)
    x = torch.randn(len(USER), 8)
    export(module, (users[:1], x), exporter, tmp_path / "model.onnx")
    plan = programs.compile(tmp_path / "model.onnx", tmp_path / "plan.bin")
    assert programs.info(plan)["inputs"][0]["shape"][0] == "U"

    def score(arrays: dict[str, np.ndarray], *options: str) -> np.ndarray:
        given, got = tmp_path / "in.npz", tmp_path / "out.npz"
        np.savez(given, **arrays)
        programs.ok(programs.mtlrun, "score", plan, "-i", given, "-o", got, *options)
        with np.load(got) as outputs:
            return outputs["y"]

    together = score({"u": users.numpy(), "x": x.numpy(), "whose": USER}, "--users", "whose")
    for index in range(USERS):
        one = users[index : index + 1]
        with torch.no_grad():
            module.double()
            wanted = module(one if kind == "ids" else one.double(), x.double()).numpy()
            module.float()
        alone = score({"u": one.numpy(), "x": x.numpy()})
        check_close({"y": alone}, {"y": wanted}, f"{kind}, {exporter}")
        mine = USER == index
        check_same_bits({"y": together[mine]}, {"y": alone[mine]}, f"{kind}, {exporter}, among others")
