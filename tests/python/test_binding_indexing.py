"""x[key] and x[key] = value, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quicksilver as torch

A = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
MASK = np.array([True, False, True])

KEYS: list[Any] = [
    0, -1, slice(None), slice(1, None), slice(0, 1), slice(None, None, 2), slice(5, 9), ..., None,
    (0, 1), (0, 1, 2), (slice(None), 1), (..., 0), (0, ...), (..., None), (None, 0, None),
    (slice(None), None),
    (slice(0, 2), slice(1, 3), slice(0, 4, 3)), ([0, 1],), ([0, 1], [2, 1]),
    ([0, 1], slice(None), [0, 3]),
    (slice(None), [0, 2]), (slice(None), [[0, 2], [1, 1]]), (0, [0, 2]), ([1, 0], 0), (..., [3, 0]),
    (slice(None), MASK), (0, MASK), (A[:, :, 0] > 4), (A > 10), True, False, (slice(1, 2), [0], 3),
    (slice(None), np.array([2, 0]), slice(1, 3)), np.int64(1), (np.array(1), slice(None)), [],
]  # fmt: skip


def to_ours(key: Any) -> Any:
    """Arrays as tensors, so that both spellings are met."""
    if isinstance(key, tuple):
        return tuple(to_ours(k) for k in key)
    return torch.from_numpy(key.copy()) if isinstance(key, np.ndarray) and key.ndim else key


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_reading(key: Any, device: str) -> None:
    expected = A[key]
    for ours in (key, to_ours(key)):
        got = torch.tensor(A, device=device)[ours]
        np.testing.assert_array_equal(got.cpu().numpy(), expected)


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_writing(key: Any, device: str) -> None:
    expected = A.copy()
    expected[key] = -7
    x = torch.tensor(A, device=device)
    x[to_ours(key)] = -7
    np.testing.assert_array_equal(x.cpu().numpy(), expected)

    value = np.arange(A[key].size, dtype=np.float32).reshape(A[key].shape) + 100
    expected = A.copy()
    expected[key] = value
    x = torch.tensor(A, device=device)
    x[to_ours(key)] = torch.tensor(value, device=device)
    np.testing.assert_array_equal(x.cpu().numpy(), expected)


def test_views_share_memory() -> None:
    x = torch.tensor(A)
    x[0][1] = 5
    x[1, :, 2].fill_(3)
    expected = A.copy()
    expected[0, 1] = 5
    expected[1, :, 2] = 3
    np.testing.assert_array_equal(x.numpy(), expected)
    x[0] += 1
    expected[0] += 1
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (5, IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        ((0, 7), IndexError, "index 7 is out of bounds for dimension 1 with size 3"),
        ((0, 0, 0, 0), IndexError, "too many indices for tensor of dimension 3"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        (1.5, IndexError, "only integers, slices (`:`), ellipsis (`...`), None and long or byte"),
        ("a", TypeError, "new(): invalid data type 'str'"),
        ([0.5], IndexError, "tensors used as indices must be long, int, byte or bool tensors"),
        ([True, True, True], IndexError, "The shape of the mask [3] at index 0 does not match"),
        ([9], IndexError, "index 9 is out of bounds for dimension 0 with size 2"),
    ],
)
def test_errors(key: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        torch.tensor(A)[key]
    assert text in str(raised.value)


def test_zero_dim() -> None:
    x = torch.tensor(3.0)
    assert x[()].item() == x[...].item() == 3
    assert x[None].shape == (1,)
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        x[0]


def test_values_are_tensors_or_numbers() -> None:
    x = torch.zeros(2, 3)
    x[0] = torch.tensor([1, 2, 3])  # converted
    x[1] = torch.ones(1, 1, 3)  # leading ones dropped
    assert x.tolist() == [[1, 2, 3], [1, 1, 1]]
    for value in ([1, 2, 3], np.ones(3), "a"):
        with pytest.raises(TypeError, match="can't assign a"):
            x[0] = value
    with pytest.raises(RuntimeError):
        x[0] = torch.ones(4)
    with pytest.raises(TypeError):
        del x[0]


def test_loop_and_contains() -> None:
    assert [row.tolist() for row in torch.arange(4).reshape(2, 2)] == [[0, 1], [2, 3]]
    assert 3 in torch.arange(4) and 9 not in torch.arange(4)
    assert len(torch.zeros(5, 2)) == 5
    a, b = torch.tensor([1, 2])
    assert int(a) == 1 and int(b) == 2


FROM_ZERO = {
    "index_select": lambda x, i: x.index_select(0, i),
    "gather": lambda x, i: x.gather(0, i.unsqueeze(1)),
    "scatter": lambda x, i: x.scatter(0, i.unsqueeze(1), 1.0),
    "scatter_add": lambda x, i: x.scatter_add(0, i.unsqueeze(1), x),
    "scatter_reduce": lambda x, i: x.scatter_reduce(0, i.unsqueeze(1), x, "amax"),
    "index_add": lambda x, i: x.index_add(0, i, x[:2]),
    "index_reduce": lambda x, i: x.index_reduce(0, i, x[:2], "amax"),
    "embedding": lambda x, i: torch.nn.functional.embedding(i, x),
    "embedding_bag": lambda x, i: torch.nn.functional.embedding_bag(i.unsqueeze(0), x),
    "nll_loss": lambda x, i: torch.nn.functional.nll_loss(x[:2], i),
    "cross_entropy": lambda x, i: torch.nn.functional.cross_entropy(x[:2], i),
}
FROM_THE_END = {
    "x[i]": lambda x, i: x[i],
    "index_put": lambda x, i: torch.index_put(x, (i,), x[0]),
    "take": lambda x, i: x.take(i),
    "put": lambda x, i: x.put(i, x[0, :2]),
    "index_fill": lambda x, i: x.index_fill(0, i, 2.0),
    "take_along_dim": lambda x, i: x.take_along_dim(i.unsqueeze(1), 0),
    "take_along_dim flat": lambda x, i: x.take_along_dim(i),
}


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("name", FROM_ZERO)
def test_a_negative_index_is_out_of_range(name: str, device: str) -> None:
    """A label of -1 is a fault in the data; only indexing by x[i] and its kin counts backwards."""
    x = torch.arange(12.0, device=device).reshape(4, 3)
    i = torch.tensor([2, -1], device=device)
    with pytest.raises(IndexError):
        FROM_ZERO[name](x, i).tolist()
    assert x.flatten().tolist() == list(range(12))


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("name", FROM_THE_END)
def test_a_negative_index_counts_from_the_end(name: str, device: str) -> None:
    x = torch.arange(12.0, device=device).reshape(4, 3)
    i = torch.tensor([2, -1], device=device)
    count = 12 if name in ("take", "put", "take_along_dim flat") else 4
    got = FROM_THE_END[name](x, i)
    assert got.tolist() == FROM_THE_END[name](x, i % count).tolist()
