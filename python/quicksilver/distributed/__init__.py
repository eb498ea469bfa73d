"""torch.distributed for one process: a group of one member, in which collectives are identities.

Scripts that can run on many processes name these functions even when there is one. A group of more
than one process is refused where it would be made; nothing here pretends to have sent anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from quicksilver import _C

Tensor = _C.Tensor


class ReduceOp:
    """How all_reduce joins values; with one member every one of them is that member's value."""

    SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR, PREMUL_SUM = (
        "SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR", "PREMUL_SUM",
    )  # fmt: skip


class Backend(str):
    """The name of a backend."""

    GLOO, NCCL, MPI, UCC, UNDEFINED = "gloo", "nccl", "mpi", "ucc", "undefined"


class ProcessGroup:
    """Some members of the world: of one, one or none."""

    def __init__(self, ranks: Sequence[int], backend: str) -> None:
        self._ranks = tuple(ranks)
        self._backend = backend

    def rank(self) -> int:
        """0, or -1 of a group without this process."""
        return 0 if self._ranks else -1

    def size(self) -> int:
        """How many members it has."""
        return len(self._ranks)

    def name(self) -> str:
        """The backend's name."""
        return self._backend


class GroupMember:
    """WORLD: the group of all, once it is made."""

    WORLD: ProcessGroup | None = None
    NON_GROUP_MEMBER = ProcessGroup((), "undefined")


group = GroupMember


class Work:
    """A collective that is done."""

    def wait(self, timeout: Any = None) -> bool:
        """True."""
        return True

    def is_completed(self) -> bool:
        """True."""
        return True


def is_available() -> bool:
    """True: a group of one process can be made."""
    return True


def is_gloo_available() -> bool:
    """False."""
    return False


is_nccl_available = is_mpi_available = is_ucc_available = is_gloo_available


def is_torchelastic_launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_initialized() -> bool:
    """Whether init_process_group made the group."""
    return GroupMember.WORLD is not None


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Makes the group of this process. Its size and rank come from the arguments, or from
    WORLD_SIZE and RANK in the environment.

    Raises:
        ValueError: there is one already, or size or rank are not known or do not fit.
        NotImplementedError: the size is more than one.
    """
    if is_initialized():
        raise ValueError("trying to initialize the default process group twice!")
    size = world_size if world_size >= 0 else int(os.environ.get("WORLD_SIZE", -1))
    own = rank if rank >= 0 else int(os.environ.get("RANK", -1))
    if size < 0:
        raise ValueError(
            "Error initializing torch.distributed using env:// rendezvous: environment variable"
            " WORLD_SIZE expected, but not set"
        )
    if own < 0:
        raise ValueError(
            "Error initializing torch.distributed using env:// rendezvous: environment variable"
            " RANK expected, but not set"
        )
    if size != 1:
        raise NotImplementedError(
            f"init_process_group: one process is served, world_size is {size}; start one process"
        )
    if own != 0:
        raise ValueError(f"rank must be 0 in a group of one process, got {own}")
    GroupMember.WORLD = ProcessGroup((0,), backend or "undefined")


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Forgets the group (or one that new_group made)."""
    if group is None or group is GroupMember.WORLD:
        _world()
        GroupMember.WORLD = None


def _world(group: ProcessGroup | None = None) -> ProcessGroup:
    if GroupMember.WORLD is None:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call"
            " init_process_group."
        )
    return GroupMember.WORLD if group is None else group


def get_rank(group: ProcessGroup | None = None) -> int:
    """0"""
    return _world(group).rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """1"""
    return _world(group).size() or -1


def get_backend(group: ProcessGroup | None = None) -> str:
    """What init_process_group was given."""
    return _world(group).name()


def get_default_backend_for_device(device: Any) -> str:
    """gloo: what PyTorch would take for tensors of the cpu."""
    return Backend.GLOO


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """LOCAL_RANK from the environment, else fallback_rank.

    Raises:
        RuntimeError: neither is there.
    """
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is None:
        raise RuntimeError(
            "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow"
            " `get_node_local_rank` to work, assuming you are not running in a multi-device context"
            " and want the code to run locally instead."
        )
    return int(fallback_rank)


def new_group(
    ranks: Sequence[int] | None = None,
    timeout: Any = None,
    backend: str | None = None,
    pg_options: Any = None,
    **more: Any,
) -> ProcessGroup:
    """A group of some members.

    Raises:
        ValueError: a rank is not in the world.
    """
    world = _world()
    chosen = (0,) if ranks is None else tuple(ranks)
    if any(r != 0 for r in chosen):
        raise ValueError(f"Invalid rank in {list(chosen)}: the world has rank 0 alone")
    return ProcessGroup(chosen, backend or world.name()) if chosen else group.NON_GROUP_MEMBER


def _one_member(rank: int, name: str) -> None:
    _world()
    if rank != 0:
        raise ValueError(f"{name}: there is no member {rank} in a group of one process")


def _done(async_op: bool) -> Work | None:
    return Work() if async_op else None


def barrier(
    group: ProcessGroup | None = None, async_op: bool = False, device_ids: Any = None
) -> Work | None:
    """Waits for all members: for nobody."""
    _world(group)
    return _done(async_op)


def all_reduce(
    tensor: Tensor,
    op: Any = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Leaves the tensor as it is: it is the sum (or the mean, ...) of one member's."""
    _world(group)
    return _done(async_op)


def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Leaves the tensor as it is."""
    _one_member(src or group_src or 0, "broadcast")
    return _done(async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: Any = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Leaves the tensor as it is."""
    _one_member(dst or group_dst or 0, "reduce")
    return _done(async_op)


def all_gather(
    tensor_list: list[Tensor],
    tensor: Tensor,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Copies the tensor into the one element of the list."""
    _world(group)
    if len(tensor_list) != 1:
        raise ValueError(f"all_gather: one tensor expected for one member, got {len(tensor_list)}")
    tensor_list[0].copy_(tensor)
    return _done(async_op)


def all_gather_into_tensor(
    output_tensor: Tensor,
    input_tensor: Tensor,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Copies input into output."""
    _world(group)
    output_tensor.copy_(input_tensor.reshape(output_tensor.shape))
    return _done(async_op)


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Copies the tensor into the one element of the list."""
    _one_member(dst or group_dst or 0, "gather")
    if gather_list is None:
        raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
    return all_gather(gather_list, tensor, group, async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Copies the one element of the list into the tensor."""
    _one_member(src or group_src or 0, "scatter")
    if not scatter_list:
        raise ValueError("Argument ``scatter_list`` must be specified on source rank.")
    tensor.copy_(scatter_list[0])
    return _done(async_op)


def reduce_scatter(
    output: Tensor,
    input_list: list[Tensor],
    op: Any = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Copies the one element of the list into output."""
    return scatter(output, input_list, None, group, async_op)


def all_gather_object(object_list: list[Any], obj: Any, group: ProcessGroup | None = None) -> None:
    """Puts obj into the one element of the list."""
    _world(group)
    object_list[0] = obj


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: ProcessGroup | None = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """Leaves the list as it is."""
    _one_member(src or group_src or 0, "broadcast_object_list")
