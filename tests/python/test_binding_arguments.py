"""The argument parser: what is taken, and PyTorch's words for what is not."""

from __future__ import annotations

import numpy as np
import pytest

import quicksilver as torch

X = torch.arange(6.0).reshape(2, 3)


def says(error: type[Exception], text: str, call: object) -> None:
    with pytest.raises(error) as raised:
        call()  # type: ignore[operator]
    assert text in str(raised.value)


def test_overloads_are_told_apart() -> None:
    assert X.max().item() == 5
    values, indices = X.max(1)
    assert values.tolist() == [2, 5] and indices.tolist() == [2, 2]
    assert torch.max(X, torch.full((2, 3), 2.0)).tolist() == [[2, 2, 2], [3, 4, 5]]
    assert X.view(3, 2).shape == X.view((3, 2)).shape == X.view([3, -1]).shape == (3, 2)
    assert X.view(torch.int32).dtype is torch.int32
    assert X.sum().item() == 15
    assert X.sum(0).tolist() == X.sum(dim=(0,)).tolist() == X.sum([0]).tolist() == [3, 5, 7]
    assert X.permute(1, 0).shape == X.permute((1, 0)).shape == torch.permute(X, (1, 0)).shape
    assert torch.zeros(2, 3).shape == torch.zeros((2, 3)).shape == torch.zeros(size=(2, 3)).shape
    assert torch.arange(3).dtype is torch.int64
    assert torch.arange(1, 3, 0.5).tolist() == [1, 1.5, 2, 2.5]
    assert X.to(torch.float64).dtype is X.to("cpu", torch.float64).dtype is torch.float64
    assert X.to(X.double()).dtype is torch.float64
    assert X.to(device="cpu", dtype=torch.int64, copy=True).dtype is torch.int64


def test_results_have_names() -> None:
    result = torch.sort(torch.tensor([3, 1, 2]), descending=True)
    assert result.values.tolist() == [3, 2, 1]
    assert result.indices.tolist() == [0, 2, 1]
    assert type(result).__name__ == "sort"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: torch.add(X, "a"), "add(): argument 'other' (position 2) must be Tensor"),
        (lambda: X.add("a"), "add(): argument 'other' (position 1) must be Tensor"),
        (lambda: X.sum(dims=1), "sum() got an unexpected keyword argument 'dims'"),
        (lambda: torch.sum(), 'sum() missing 1 required positional arguments: "input"'),
        (lambda: torch.relu(X, 1), "relu() takes 1 positional argument but 2 were given"),
        (
            lambda: torch.sum(X, 1, True, 0),
            "takes from 1 to 3 positional arguments but 4 were given",
        ),
        (lambda: torch.exp(3), "exp(): argument 'input' (position 1) must be Tensor, not int"),
        (lambda: torch.matmul(X), 'matmul() missing 1 required positional arguments: "other"'),
        (
            lambda: torch.matmul(X, 2),
            "matmul(): argument 'other' (position 2) must be Tensor, not int",
        ),
        (lambda: X.transpose(0), 'transpose() missing 1 required positional arguments: "dim1"'),
        (lambda: X.unsqueeze(), 'unsqueeze() missing 1 required positional arguments: "dim"'),
        (lambda: X.topk(2, bad=1), "topk() got an unexpected keyword argument 'bad'"),
        (lambda: X.add(1, alpha="b"), "add(): argument 'alpha' must be Number, not str"),
        (lambda: X.add(1, other=2), "add() got multiple values for argument 'other'"),
        (lambda: torch.zeros(), 'zeros() missing 1 required positional arguments: "size"'),
        (
            lambda: torch.zeros("a"),
            "zeros(): argument 'size' (position 1) must be tuple of ints, not str",
        ),
        (
            lambda: torch.zeros(2, dtype="f"),
            "zeros(): argument 'dtype' must be torch.dtype, not str",
        ),
        (
            lambda: torch.full((2,), "a"),
            "full(): argument 'fill_value' (position 2) must be Number",
        ),
        (lambda: X.reshape(1.5), "reshape(): argument 'shape' (position 1) must be tuple of ints"),
        (lambda: torch.cat(X), "cat(): argument 'tensors' (position 1) must be tuple of Tensors"),
        (lambda: torch.cat([X, 1]), "expected Tensor as element 1 in argument 0, but got int"),
        (
            lambda: torch.stack(3),
            "stack(): argument 'tensors' (position 1) must be tuple of Tensors",
        ),
        (
            lambda: torch.max(X, "a"),
            "max() received an invalid combination of arguments - got (Tensor, str)",
        ),
        (
            lambda: X.requires_grad_(1),
            "argument 'requires_grad' (position 1) must be bool, not int",
        ),
        (
            lambda: X.sum((0, "a")),
            "sum(): argument 'dim' failed to unpack the object at pos 2 with error "
            '"type must be tuple of ints,but got str"',
        ),
        (lambda: X @ 2, "unsupported operand type(s) for @: 'Tensor' and 'int'"),
        (lambda: X + "a", "unsupported operand type(s) for +: 'Tensor' and 'str'"),
        (lambda: X < None, "not supported between instances of 'Tensor' and 'NoneType'"),
        (lambda: len(torch.tensor(1)), "len() of a 0-d tensor"),
        (lambda: iter(torch.tensor(1)), "iteration over a 0-d tensor"),
        (
            lambda: [1, 2][torch.tensor(1.0)],
            "only integer tensors of a single element can be converted",
        ),
    ],
)
def test_type_errors_speak_as_pytorch(call: object, text: str) -> None:
    says(TypeError, text, call)


def test_other_errors_speak_as_pytorch() -> None:
    says(
        RuntimeError,
        "Boolean value of Tensor with more than one value is ambiguous",
        lambda: bool(X),
    )
    says(
        RuntimeError,
        "Boolean value of Tensor with no values is ambiguous",
        lambda: bool(torch.ones(0)),
    )
    says(ValueError, "only one element tensors can be converted to Python scalars", lambda: int(X))
    says(RuntimeError, "a Tensor with 6 elements cannot be converted to Scalar", X.item)
    says(RuntimeError, "At least one of 'min' or 'max' must not be None", X.clamp)
    says(RuntimeError, "could not infer output dtype", X.long().mean)
    says(
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got 5)",
        lambda: X.size(5),
    )
    says(AttributeError, "'Tensor' object has no attribute 'foo'", lambda: X.foo)
    says(RuntimeError, "only Tensors of floating point", lambda: X.long().requires_grad_())


def test_foreign_operands_get_their_turn() -> None:
    class Other:
        def __radd__(self, x: object) -> str:
            return "other"

    assert X + Other() == "other"
    assert (X == None) is False  # noqa: E711
    assert (X != None) is True  # noqa: E711
    assert (np.float32(2) * X).tolist() == (X * 2).tolist()
    assert (X * np.float64(2)).dtype is torch.float32
    assert (2 - X).tolist() == [[2, 1, 0], [-1, -2, -3]]
    assert (2**X)[0].tolist() == [1, 2, 4]


def test_out() -> None:
    target = torch.empty(2, 3)
    assert torch.add(X, 1, out=target) is target
    assert target.tolist() == (X + 1).tolist()
    grown = torch.empty(0)
    torch.mul(X, 2, out=grown)
    assert grown.tolist() == (X * 2).tolist()
    wide = torch.empty(2, 3, dtype=torch.float64)
    torch.add(X, 1, out=wide)
    assert wide.dtype is torch.float64 and wide[1, 2].item() == 6
    values, indices = torch.empty(2), torch.empty(2, dtype=torch.int64)
    torch.max(X, 1, out=(values, indices))
    assert values.tolist() == [2, 5] and indices.tolist() == [2, 2]
    says(
        RuntimeError,
        "result type Float can't be cast to the desired output type Long",
        lambda: torch.add(X, 1, out=torch.empty(0, dtype=torch.int64)),
    )
    w = torch.ones(3, requires_grad=True)
    says(
        RuntimeError,
        "don't support automatic differentiation",
        lambda: torch.exp(w, out=torch.empty(3)),
    )


def test_numbers_of_all_kinds_are_numbers() -> None:
    assert (X + True)[0, 0].item() == 1
    assert (X + np.int64(2))[0, 0].item() == 2
    assert torch.full((2,), np.float32(1.5)).tolist() == [1.5, 1.5]
    assert X.sum(np.int64(0)).shape == (3,)
    assert torch.zeros(np.int32(2), torch.tensor(3)).shape == (2, 3)
    assert X.clamp(torch.tensor(1.0), torch.tensor(2.0)).min().item() == 1
    assert torch.add(X, 1, alpha=torch.tensor(2.0))[0, 0].item() == 2


def test_generators_have_streams_of_their_own() -> None:
    torch.manual_seed(7)
    expected = torch.rand(4).tolist()
    torch.manual_seed(7)
    g = torch.Generator().manual_seed(3)
    first = torch.rand(4, generator=g).tolist()
    assert torch.rand(4).tolist() == expected
    assert torch.rand(4, generator=g.manual_seed(3)).tolist() == first
    state = g.get_state()
    a = torch.randn(5, generator=g).tolist()
    assert torch.randn(5, generator=g.set_state(state)).tolist() == a
