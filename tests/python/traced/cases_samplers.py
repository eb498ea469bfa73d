"""DistributedSampler without shuffling: which indices each process reads."""

from __future__ import annotations

from typing import Any

from . import outcome


def case_parts(L: Any) -> Any:
    S = L.utils.data.DistributedSampler
    result = {}
    for count in (0, 1, 4, 5, 7):
        for replicas in (1, 2, 3):
            for drop in (False, True):
                samplers = [
                    S(range(count), replicas, r, shuffle=False, drop_last=drop)
                    for r in range(replicas)
                ]
                key = f"{count} by {replicas}{' dropped' if drop else ''}"
                result[key] = [
                    outcome(lambda s=s: [list(s), len(s), s.total_size]) for s in samplers
                ]
    return result


def case_errors(L: Any) -> Any:
    S = L.utils.data.DistributedSampler
    return [outcome(lambda r=r: S(range(4), 2, r)) for r in (2, -1)]
