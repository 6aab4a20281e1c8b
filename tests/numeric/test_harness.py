"""The comparisons themselves must be able to fail."""

from __future__ import annotations

import numpy as np
import pytest

from tests.harness import check_close, check_same_bits, difference, tile

ONES = np.ones((2, 1), dtype=np.float32)


def test_difference_is_relative_above_one_and_absolute_below() -> None:
    assert difference(np.float32([0.5]), np.array([0.25])) == 0.25
    assert difference(np.float32([110.0]), np.array([100.0])) == pytest.approx(0.1)
    assert difference(np.float32([np.nan]), np.array([1.0])) == np.inf


@pytest.mark.parametrize(
    "got",
    [
        {"y": ONES + np.float32(2e-5)},
        {"y": ONES.astype(np.float64)},
        {"y": ONES.ravel()},
        {"z": ONES},
        {"y": ONES, "z": ONES},
        {"y": ONES * np.float32("nan")},
    ],
)
def test_check_close_refuses(got: dict[str, np.ndarray]) -> None:
    check_close({"y": ONES + np.float32(5e-6)}, {"y": np.ones((2, 1))}, "almost")
    with pytest.raises(AssertionError):
        check_close(got, {"y": np.ones((2, 1))}, "wrong")


def test_check_same_bits_sees_one_bit() -> None:
    check_same_bits({"y": ONES}, {"y": ONES.copy()}, "equal")
    other = ONES.copy()
    other[1] = np.nextafter(other[1], np.float32(2))
    with pytest.raises(AssertionError, match="first at byte 4"):
        check_same_bits({"y": other}, {"y": ONES}, "last bit")
    zero = np.zeros(2, dtype=np.float32)
    with pytest.raises(AssertionError):
        check_same_bits({"y": -zero}, {"y": zero}, "signs of zero")


def test_tile_repeats_rows() -> None:
    rows = tile({"x": np.arange(6).reshape(3, 2)}, 5)["x"]
    assert rows.tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]
