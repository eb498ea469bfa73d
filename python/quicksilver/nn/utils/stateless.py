"""Calling a module with other parameters than its own, which stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


def _places(module: Any) -> dict[str, tuple[dict[str, Any], str]]:
    """By name the table that holds a parameter or buffer, and its key there; all names of each."""
    found = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for key, value in table.items():
                if value is not None:
                    found[f"{prefix}.{key}" if prefix else key] = table, key
    return found


@contextmanager
def replaced(
    module: Any, tensors: Mapping[str, Any], tie_weights: bool, strict: bool
) -> Iterator[None]:
    """Within the block the named parameters and buffers are others.

    Raises:
        ValueError: with tie_weights, two names of one tensor are given different ones.
        RuntimeError: with strict, a name is missing or unknown.
    """
    places = _places(module)
    unknown = [name for name in tensors if name not in places]
    new = {name: value for name, value in tensors.items() if name in places}
    if tie_weights:
        by_tensor: dict[int, Tensor] = {}
        for name, value in new.items():
            table, key = places[name]
            if by_tensor.setdefault(id(table[key]), value) is not value:
                raise ValueError(
                    f"functional_call got multiple values for keys of one tensor, {name!r} among"
                    " them. Consider using tie_weights=False"
                )
        for name, (table, key) in places.items():
            if id(table[key]) in by_tensor:
                new.setdefault(name, by_tensor[id(table[key])])
    missing = [name for name in places if name not in new]
    if strict and (unknown or missing):
        parts = [f"Unexpected key(s): {', '.join(unknown)}."] if unknown else []
        parts += [f"Missing key(s): {', '.join(missing)}."] if missing else []
        raise RuntimeError(
            f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(parts)
        )
    before = [(table, key, table[key]) for table, key in (places[name] for name in new)]
    try:
        for name, value in new.items():
            table, key = places[name]
            table[key] = value
        yield
    finally:
        for table, key, value in before:
            table[key] = value


def functional_call(
    module: Any,
    parameters_and_buffers: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with some parameters and buffers replaced for this call.

    Args:
        parameters_and_buffers: by name, as named_parameters has them; or several such dicts.
        args: a tuple, or one argument.
        tie_weights: tensors that stand in the module under several names are replaced in all.
        strict: every parameter and buffer must be given.
    """
    if not isinstance(parameters_and_buffers, Mapping):
        merged: dict[str, Any] = {}
        for one in parameters_and_buffers:
            if repeated := merged.keys() & one.keys():
                raise ValueError(f"{sorted(repeated)} appear in multiple dictionaries")
            merged.update(one)
        parameters_and_buffers = merged
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with replaced(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))
