"""Recurrent layers written by hand in float64, as the standard words them: what the programs are compared with.
`onnx.reference` has one direction only."""

from __future__ import annotations

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


ACTS = {"Sigmoid": sigmoid, "Tanh": np.tanh, "Relu": lambda x: np.maximum(x, 0)}


def gru_cell(x, h, w, r, b, acts, reset_after):
    """x (B, I), h (B, H), w (3 H, I), r (3 H, H), b (6 H), gates z, r, h: the next h."""
    f, g = acts
    wz, wr, wh = np.split(w, 3)
    rz, rr, rh = np.split(r, 3)
    bz, br, bh, cz, cr, ch = np.split(b, 6)
    z = f(x @ wz.T + h @ rz.T + bz + cz)
    reset = f(x @ wr.T + h @ rr.T + br + cr)
    if reset_after:
        candidate = g(x @ wh.T + reset * (h @ rh.T + ch) + bh)
    else:
        candidate = g(x @ wh.T + (reset * h) @ rh.T + ch + bh)
    return (1 - z) * candidate + z * h


def lstm_cell(x, h, c, w, r, b, acts):
    """Gates i, o, f, c: the next (h, c)."""
    f, g, k = acts
    gates = x @ w.T + h @ r.T + sum(np.split(b, 2))
    i, o, forget, cell = np.split(gates, 4, axis=1)
    c = f(forget) * c + f(i) * g(cell)
    return f(o) * k(c), c


def layer(op, x, w, r, b=None, h=None, c=None, direction="forward", reset_after=False, acts=None):
    """x (L, B, I), w (D, G H, I), r (D, G H, H), b (D, 2 G H), h, c (D, B, H). Returns Y (L, D, B, H), Y_h, Y_c (D, B, H)."""
    length, batch, _ = x.shape
    hidden = r.shape[2]
    ways, gates = w.shape[0], w.shape[1] // hidden
    acts = acts or {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}[op] * ways
    each = len(acts) // ways
    b = np.zeros((ways, 2 * gates * hidden)) if b is None else b
    h = np.zeros((ways, batch, hidden)) if h is None else h.copy()
    c = np.zeros((ways, batch, hidden)) if c is None else c.copy()
    y = np.zeros((length, ways, batch, hidden))
    for d in range(ways):
        steps = range(length)
        own = [ACTS[name] for name in acts[d * each : (d + 1) * each]]
        for t in reversed(steps) if direction == "reverse" or d == 1 else steps:
            if op == "GRU":
                h[d] = gru_cell(x[t], h[d], w[d], r[d], b[d], own, reset_after)
            elif op == "LSTM":
                h[d], c[d] = lstm_cell(x[t], h[d], c[d], w[d], r[d], b[d], own)
            else:
                h[d] = own[0](x[t] @ w[d].T + h[d] @ r[d].T + sum(np.split(b[d], 2)))
            y[t, d] = h[d]
    return y, h, c
