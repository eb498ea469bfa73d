"""AdaptiveLogSoftmaxWithLoss: a softmax over many classes, rare ones in clusters."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from quicksilver import _C
from quicksilver.nn import functional as F
from quicksilver.nn.modules.container import ModuleList, Sequential
from quicksilver.nn.modules.linear import Linear
from quicksilver.nn.modules.module import Module

Tensor = _C.Tensor

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Grave et al. 2017, arXiv:1609.04309. The head chooses among the frequent classes and the
    clusters; a cluster chooses among its classes through a narrower layer.

    Args:
        cutoffs: where clusters begin: classes below cutoffs[0] are frequent ones.
        div_value: each cluster's layer is that much narrower than the one before.
        head_bias: the head has a bias.

    Raises:
        ValueError: cutoffs are not rising whole numbers between 1 and n_classes - 1.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(set(cutoffs))
            or min(cutoffs) <= 0
            or max(cutoffs) > n_classes - 1
            or any(int(c) != c for c in cutoffs)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing"
                " order, where each value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        where = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **where)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            narrow = int(in_features // (div_value ** (i + 1)))
            count = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, narrow, bias=False, **where),
                    Linear(narrow, count, bias=False, **where),
                )
            )

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> _ASMoutput:
        """(log probability of each target, their mean with the sign turned) for input [N, in] and
        classes [N], or [in] and one class.

        Raises:
            RuntimeError: shapes do not fit, or a class is outside of [0, n_classes).
        """
        if target.dim() == 1:
            if input.size(0) != target.size(0):
                raise RuntimeError(
                    "Input and target should have the same size in the batch dimension."
                )
            if input.dim() != 2:
                raise RuntimeError(
                    "1D target tensor expects 2D input tensors, but found inputs with size"
                    f" {input.size()}"
                )
        elif target.dim() == 0:
            if input.dim() != 1:
                raise RuntimeError(
                    "0D target tensor expects 1D input tensors, but found inputs with size"
                    f" {input.size()}"
                )
        else:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        rows, classes = (input, target) if target.dim() else (input[None], target[None])
        low, high = (int(v) for v in classes.aminmax()) if classes.numel() else (0, 0)
        if low < 0 or high >= self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range"
                f" [{low}, {high}] were found. "
            )
        head = F.log_softmax(self.head(rows), 1)
        place = classes.clamp(max=self.shortlist_size - 1)  # in the head: a class or a cluster
        output = head.new_zeros(len(rows))
        for i in range(self.n_clusters):
            first, end = self.cutoffs[i], self.cutoffs[i + 1]
            inside = (classes >= first) & (classes < end)
            at = inside.nonzero().squeeze(1)
            if not at.numel():
                continue
            place = place.masked_fill(inside, self.shortlist_size + i)
            chosen = F.log_softmax(self.tail[i](rows.index_select(0, at)), 1)
            own = chosen.gather(1, (classes.index_select(0, at) - first).unsqueeze(1)).squeeze(1)
            output = output.index_copy(0, at, own)
        output = output + head.gather(1, place.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if target.dim() else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log probabilities of all classes: [N, n_classes]."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            of_cluster = head[:, self.shortlist_size + i : self.shortlist_size + i + 1]
            parts.append(F.log_softmax(cluster(input), 1) + of_cluster)
        return _C.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row."""
        return self.log_prob(input).argmax(1)
