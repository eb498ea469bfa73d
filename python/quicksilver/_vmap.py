"""torch.vmap: a function over one sample as one over a batch.

The function is called once a sample and its results are stacked, so every op and every control flow
works in it, and so does whatever reads a value. Calls are recorded one behind the other: equal maps
of different samples become parts of one launch, but a matrix product a sample stays one a sample.
Where that counts, write the batched op.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from quicksilver import _C, mps
from quicksilver.utils import _pytree as pytree

Tensor = _C.Tensor


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that maps func over a dimension of its inputs.

    Args:
        func: takes tensors (or lists, tuples and dicts of them) and gives tensors.
        in_dims: the dimension of each input to map over, None for an input that each call gets
            whole; one number for all, or a structure like that of the inputs. Keyword arguments
            are not mapped.
        out_dims: where the mapped dimension stands in each result.
        randomness: "different" draws anew for each sample, "same" draws alike for all, "error"
            raises when func draws.
        chunk_size: taken as PyTorch takes it; samples are called one by one anyway.

    Raises:
        ValueError: no inputs, sizes that differ, dimensions that are out of range or not of
            tensors, results that are no tensors.
        RuntimeError: func draws random numbers with randomness="error".
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. Got"
            f" {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        return _run(func, in_dims, out_dims, randomness, args, kwargs)

    return mapped


def _name(func: Any) -> str:
    return getattr(func, "__name__", None) or repr(func)


def _run(
    func: Callable[..., Any],
    in_dims: Any,
    out_dims: Any,
    randomness: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    call = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): "
    leaves, spec = pytree.tree_flatten(args)
    dims = _dims_of_inputs(call, in_dims, args, leaves)
    sizes = [x.size(d) for x, d in zip(leaves, dims, strict=True) if d is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes"
            f" {sizes} for the mapped dimension"
        )
    # A batch of none calls func once on zeros, for the shapes of its results.
    count = sizes[0]
    columns = [
        None
        if d is None
        else x.unbind(d)
        if count
        else (x.new_zeros([*x.shape[:d], *x.shape[d + 1 :]]),)
        for x, d in zip(leaves, dims, strict=True)
    ]
    draws = _Draws(randomness)
    results = []
    for i in range(max(count, 1)):
        sample = [x if c is None else c[i] for x, c in zip(leaves, columns, strict=True)]
        draws.before()
        results.append(func(*pytree.tree_unflatten(sample, spec), **kwargs))
        draws.after()
    return _stacked(func, results, out_dims, count)


def _dims_of_inputs(
    call: str, in_dims: Any, args: tuple[Any, ...], leaves: list[Any]
) -> list[int | None]:
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{call}expected `in_dims` to be int or a (potentially nested) tuple matching the"
            f" structure of inputs, got: {type(in_dims)}."
        )
    if not leaves:
        raise ValueError(
            f"{call}got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a"
            " function with no inputs. The latter is unsupported."
        )
    dims: list[Any] = []
    if not _spread(in_dims, args, dims):
        raise ValueError(
            f"{call}in_dims is not compatible with the structure of `inputs`. in_dims has structure"
            f" {pytree.tree_structure(in_dims)} but inputs has structure"
            f" {pytree.tree_structure(args)}."
        )
    for i, (x, d) in enumerate(zip(leaves, dims, strict=True)):
        if d is None:
            continue
        if not isinstance(d, int):
            raise ValueError(
                f"{call}Got in_dim={d} for an input but in_dim must be either an integer dimension"
                " or None."
            )
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{call}Got in_dim={d} for an input but the input is of type {type(x)}. We cannot"
                " vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -x.dim() <= d < x.dim():
            raise ValueError(
                f"{call}Got in_dim={d} for some input, but that input is a Tensor of dimensionality"
                f" {x.dim()} so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}."
            )
        dims[i] = d % x.dim()
    return dims


def _spread(dims: Any, tree: Any, out: list[Any]) -> bool:
    """Appends a dimension for each leaf of `tree`: an inner node's own counts for all below it."""
    if dims is None or isinstance(dims, int):
        out += [dims] * len(pytree.tree_leaves(tree))
        return True
    if isinstance(dims, dict):
        return (
            isinstance(tree, dict)
            and dims.keys() == tree.keys()
            and all(_spread(dims[key], tree[key], out) for key in tree)
        )
    if isinstance(dims, (tuple, list)):
        return (
            isinstance(tree, (tuple, list))
            and len(dims) == len(tree)
            and all(_spread(d, t, out) for d, t in zip(dims, tree, strict=True))
        )
    out.append(dims)  # refused where the input is known
    return True


def _stacked(func: Any, results: list[Any], out_dims: Any, count: int) -> Any:
    call = f"vmap({_name(func)}, ..., out_dims={out_dims})"
    leaves, spec = pytree.tree_flatten(results[0])
    columns = [leaves, *(pytree.tree_leaves(r) for r in results[1:])]
    for x in leaves:
        if not isinstance(x, Tensor):
            raise ValueError(
                f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type"
                f" {type(x)}."
            )
    dims: list[Any] = []
    if not _spread(out_dims, results[0], dims) or len(dims) != len(leaves):
        raise ValueError(
            f"{call}: out_dims is not compatible with the structure of `outputs`. out_dims has"
            f" structure {pytree.tree_structure(out_dims)} but outputs has structure {spec}."
        )
    stacked = []
    for parts, d in zip(zip(*columns, strict=True), dims, strict=True):
        if d is None:
            stacked.append(parts[0])
            continue
        whole = _C.stack(parts, d)
        stacked.append(whole if count else whole.narrow(d, 0, 0))
    return pytree.tree_unflatten(stacked, spec)


class _Draws:
    """What vmap's randomness asks of the default generators around each call."""

    def __init__(self, randomness: str) -> None:
        self.randomness = randomness
        self.on_device = mps.is_available()
        self.start: Any = None

    def state(self) -> list[Any]:
        device = mps.get_rng_state().tolist() if self.on_device else None
        return [_C.default_generator.get_state().tolist(), device]

    def before(self) -> None:
        if self.randomness == "different":
            return
        if self.start is None:
            self.start = self.state()
        elif self.randomness == "same":
            _C.default_generator.set_state(_C.tensor(self.start[0], dtype=_C.uint8))
            if self.on_device:
                mps.set_rng_state(_C.tensor(self.start[1], dtype=_C.uint8))

    def after(self) -> None:
        if self.randomness == "error" and self.state() != self.start:
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use"
                " the 'same' or 'different' randomness flags on vmap or perform the randomness"
                " operation out of vmap"
            )
