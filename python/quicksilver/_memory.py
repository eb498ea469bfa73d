"""Who holds the memory of mps: looked up when somebody asks or when memory has run out.

Nothing is kept for it while programs run. Tensors are found in what Python's garbage collector
knows; what else is live belongs to local variables of functions, to histories that wait for
``backward()``, or to C++.
"""

from __future__ import annotations

import gc
from typing import Any

from quicksilver import _C

Row = tuple[int, int, str]  # bytes in all, how many, what


def _amount(number: int) -> str:
    return f"{number / 2**10:.1f} KiB" if number < 1 << 20 else f"{number / 2**20:.1f} MiB"


def _known_tensors() -> list[Any]:
    """What containers, modules and instances refer to: most tensors are not tracked themselves.
    Asking frames for their locals would keep these alive."""
    objects = gc.get_objects()
    found = {id(o): o for o in gc.get_referents(*objects) if isinstance(o, _C.Tensor)}
    return list((found | {id(o): o for o in objects if isinstance(o, _C.Tensor)}).values())


def _named() -> list[Row]:
    """Storages that Python knows, those of equal dtype and shape together, largest first."""
    from quicksilver.nn import Parameter

    tensors = _known_tensors()
    tensors += [g for t in tensors if t.is_leaf and (g := t.grad) is not None]
    storages: dict[int, tuple[int, Any]] = {}
    for t in tensors:
        held = _C._held_memory(t)
        if held is None:  # elsewhere, or not computed yet
            continue
        storage, size = held
        known = storages.get(storage)
        if known is None or t.numel() > known[1].numel():  # the whole rather than a view
            storages[storage] = (size, t)
    groups: dict[str, tuple[int, int]] = {}
    for size, t in storages.values():
        kind = "parameters" if isinstance(t, Parameter) else "tensors"
        what = f"{kind} {str(t.dtype).rpartition('.')[2]} {list(t.shape)}"
        total, count = groups.get(what, (0, 0))
        groups[what] = (total + size, count + 1)
    return sorted(((total, count, what) for what, (total, count) in groups.items()), reverse=True)


def owners(most: int = 8) -> str:
    """A table: the largest tensors by dtype and shape, scratch of plans, what has no name."""
    live, scratch = _C._live_memory()
    rows = _named()
    shown, rest = rows[:most], rows[most:]
    lines = [f"{_amount(total):>12}  {count} {what}" for total, count, what in shown]
    if rest:
        lines.append(f"{_amount(sum(r[0] for r in rest)):>12}  {sum(r[1] for r in rest)} others")
    lines.append(f"{_amount(scratch):>12}  scratch of plans")
    unnamed = max(live - scratch - sum(r[0] for r in rows), 0)
    lines.append(f"{_amount(unnamed):>12}  in local variables, kept for backward(), or in C++")
    return "\n".join("  " + line for line in lines)


def explain_want() -> str:
    """What an OutOfMemoryError adds to its text."""
    if not any(_C._live_memory()):
        return ""
    return (
        f"\nWho holds the memory of mps now:\n{owners()}\n"
        "A smaller batch, torch.no_grad() where no gradients are wanted, torch.utils.checkpoint,"
        " zero_grad() before the forward pass and loss.item() instead of a kept loss need less;"
        " mps.memory_summary() shows this table, mps.set_per_process_memory_fraction() the limit."
    )
