"""Recurrent layers: RNN, LSTM and GRU, and their single cells.

A layer runs over [T, B, in] in one direction by `_run_layer`. An LSTM's is one recorded verb with a
gradient of its own (`_C._lstm_layer`); the others are composed of verbs, with the products of all
steps with the input taken at once. A packed sequence runs in stretches of equal batch size.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable
from typing import Any

from quicksilver import _C
from quicksilver.nn import functional as F
from quicksilver.nn import init
from quicksilver.nn.modules.module import Module
from quicksilver.nn.parameter import Parameter
from quicksilver.nn.utils.rnn import PackedSequence

Tensor = _C.Tensor
State = tuple[Tensor, ...]  # (h,), or (h, c)
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


# ---- one step, one layer -------------------------------------------------------------------------
def _gru_step(from_x: Tensor, h: Tensor, weights: list[Tensor | None]) -> Tensor:
    """h' = (1 - z) n + z h, n = tanh(x_n + r h_n)."""
    x_r, x_z, x_n = from_x.chunk(3, -1)
    h_r, h_z, h_n = F.linear(h, weights[1], weights[3]).chunk(3, -1)
    r, z = _C.sigmoid(x_r + h_r), _C.sigmoid(x_z + h_z)
    n = _C.tanh(x_n + r * h_n)
    return n + z * (h - n)


def _plain_step(act: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def step(from_x: Tensor, h: Tensor, weights: list[Tensor | None]) -> Tensor:
        return act(from_x + F.linear(h, weights[1], weights[3]))

    return step


_STEPS = {"GRU": _gru_step, "RNN_TANH": _plain_step(_C.tanh), "RNN_RELU": _plain_step(_C.relu)}


def _run_layer(
    mode: str, x: Tensor, state: State, weights: list[Tensor | None], reverse: bool
) -> tuple[Tensor, State]:
    """x [T, B, in] -> (outputs [T, B, out], last state).

    weights: w_ih, w_hh, b_ih, b_hh (None without biases) and w_hr (None without projection).
    """
    if mode == "LSTM":
        out, h, c = _C._lstm_layer(x, *state, *weights, reverse)
        return out, (h, c)
    step, (h,) = _STEPS[mode], state
    from_x = F.linear(x, weights[0], weights[2]).unbind(0)
    outputs: list[Any] = [None] * len(from_x)
    for t in reversed(range(len(from_x))) if reverse else range(len(from_x)):
        outputs[t] = h = step(from_x[t], h, weights)
    return _C.stack(outputs), (h,)


def _run_packed(
    mode: str, data: Tensor, sizes: list[int], state: State, weights: list[Any], reverse: bool
) -> tuple[Tensor, State]:
    """The same over packed rows: stretches of equal batch size, each a plain layer.

    Forward, the state loses rows as sequences end; backward, it gains them from the given state.
    """
    stretches: list[list[int]] = []  # [first row, steps, batch]
    row = 0
    for size in sizes:
        if stretches and stretches[-1][2] == size:
            stretches[-1][1] += 1
        else:
            stretches.append([row, 1, size])
        row += size
    outputs: list[Any] = [None] * len(stretches)
    ended: list[State] = []
    now = tuple(s[: stretches[-1][2]] for s in state) if reverse else state
    for i in reversed(range(len(stretches))) if reverse else range(len(stretches)):
        first, steps, batch = stretches[i]
        have = now[0].shape[0]
        if have < batch:
            now = tuple(_C.cat([n, s[have:batch]]) for n, s in zip(now, state, strict=True))
        elif have > batch:
            ended.append(tuple(n[batch:] for n in now))
            now = tuple(n[:batch] for n in now)
        x = data[first : first + steps * batch].reshape(steps, batch, -1)
        out, now = _run_layer(mode, x, now, weights, reverse)
        outputs[i] = out.reshape(steps * batch, -1)
    ended.append(now)
    last = tuple(_C.cat(parts[::-1]) for parts in zip(*ended, strict=True))
    return _C.cat(outputs), last


# ---- layers --------------------------------------------------------------------------------------
class RNNBase(Module):
    """What RNN, LSTM and GRU share: weights by layer and direction, checks, stacking.

    Attributes:
        weight_ih_l[k], weight_hh_l[k], bias_ih_l[k], bias_hh_l[k]: of layer k, uniform in
            +-1 / sqrt(hidden_size); with the suffix "_reverse" of the other direction;
            weight_hr_l[k] projects an LSTM's output.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_sizes(dropout)
        width = proj_size or hidden_size
        gates = _GATES[mode] * hidden_size
        shapes: dict[str, tuple[int, ...]]
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                size = input_size if layer == 0 else width * self._directions
                shapes = {"weight_ih": (gates, size), "weight_hh": (gates, width)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    weight = Parameter(_C.empty(shape, device=device, dtype=dtype))
                    setattr(self, name + suffix, weight)
        self.reset_parameters()

    def _check_sizes(self, dropout: Any) -> None:
        if (
            not isinstance(dropout, numbers.Number)
            or not 0 <= dropout <= 1  # type: ignore[operator]
            or isinstance(dropout, bool)
        ):
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an"
                " element being zeroed"
            )
        if dropout > 0 and self.num_layers == 1:  # type: ignore[operator]
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero"
                f" dropout expects num_layers greater than 1, but got dropout={dropout} and"
                f" num_layers={self.num_layers}",
                stacklevel=4,
            )
        if not isinstance(self.hidden_size, int):
            raise TypeError(
                f"hidden_size should be of type int, got: {type(self.hidden_size).__name__}"
            )
        if self.hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def _weights_of(self, suffix: str) -> list[Tensor | None]:
        """w_ih, w_hh, b_ih, b_hh and, of an LSTM, w_hr."""
        names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
        weights = [getattr(self, name + suffix) for name in names[: 4 if self.bias else 2]]
        weights += [None] * (4 - len(weights))
        if self.mode == "LSTM":
            weights.append(getattr(self, "weight_hr" + suffix) if self.proj_size else None)
        return weights

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights by layer and direction."""
        return [
            [weight for weight in self._weights_of(suffix) if weight is not None]
            for layer in range(self.num_layers)
            for suffix in self._suffixes(layer)
        ]

    def flatten_parameters(self) -> None:
        """PyTorch's call for cuDNN's sake; weights need no particular place here."""

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if not self.bias:
            text += f", bias={self.bias}"
        if self.batch_first:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional:
            text += f", bidirectional={self.bidirectional}"
        return text

    # ---- running ------------------------------------------------------------------------------
    def _zero_state(self, x: Tensor, batch: int) -> State:
        count = self.num_layers * self._directions
        widths = [self.proj_size or self.hidden_size]
        if self.mode == "LSTM":
            widths.append(self.hidden_size)
        return tuple(_C.zeros(count, batch, w, dtype=x.dtype, device=x.device) for w in widths)

    def _check_input(self, x: Tensor, batch_sizes: Any) -> None:
        weight = self.weight_ih_l0
        if x.dtype != weight.dtype:
            raise ValueError(f"RNN input dtype ({x.dtype}) does not match weight dtype"
                             f" ({weight.dtype}). Convert input:"
                             f" input.to({weight.dtype}), or convert model:"
                             f" model.to({x.dtype})")  # fmt: skip
        dim = 3 if batch_sizes is None else 2
        if x.dim() != dim:
            raise RuntimeError(f"input must have {dim} dimensions, got {x.dim()}")
        if x.size(-1) != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got"
                f" {x.size(-1)}"
            )

    def _check_state(self, state: State, batch: int) -> None:
        count = self.num_layers * self._directions
        widths = (self.proj_size or self.hidden_size, self.hidden_size)
        texts = (
            ("Expected hidden[0] size {}, got {}", "Expected hidden[1] size {}, got {}")
            if self.mode == "LSTM"
            else ("Expected hidden size {}, got {}",)
        )
        for tensor, width, text in zip(state, widths, texts, strict=False):
            if tuple(tensor.shape) != (count, batch, width):
                raise RuntimeError(text.format((count, batch, width), list(tensor.shape)))

    def _run(self, x: Tensor, sizes: list[int] | None, state: State) -> tuple[Tensor, State]:
        """All layers and directions over x [T, B, in] (or packed rows)."""
        last: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self._suffixes(layer):
                own = tuple(s[len(last)] for s in state)
                weights = self._weights_of(suffix)
                reverse = suffix.endswith("_reverse")
                if sizes is None:
                    out, end = _run_layer(self.mode, x, own, weights, reverse)
                else:
                    out, end = _run_packed(self.mode, x, sizes, own, weights, reverse)
                outputs.append(out)
                last.append(end)
            x = outputs[0] if len(outputs) == 1 else _C.cat(outputs, -1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, True)
        return x, tuple(_C.stack(parts) for parts in zip(*last, strict=True))

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """(outputs, last state) of [T, B, in], [B, T, in] with batch_first, [T, in], or a
        PackedSequence; the state is h, or (h, c) of an LSTM."""
        lstm = self.mode == "LSTM"
        state: State | None = None if hx is None else (tuple(hx) if lstm else (hx,))
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, state)
        name = type(self).__name__
        if input.dim() not in (2, 3):
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        if state is not None:
            self._check_dimensions(state, batched)
            if not batched:
                state = tuple(s.unsqueeze(1) for s in state)
        self._check_input(x, None)
        if x.size(0) == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        if state is None:
            state = self._zero_state(x, x.size(1))
        self._check_state(state, x.size(1))
        out, last = self._run(x, None, state)
        if batched and self.batch_first:
            out = out.transpose(0, 1)
        if not batched:
            out, last = out.squeeze(1), tuple(s.squeeze(1) for s in last)
        return out, last if lstm else last[0]

    def _check_dimensions(self, state: State, batched: bool) -> None:
        wanted, kind = (3, "batched") if batched else (2, "unbatched")
        if all(s.dim() == wanted for s in state):
            return
        if self.mode == "LSTM":
            dims = f"({state[0].dim()}-D, {state[1].dim()}-D) tensors"
            raise RuntimeError(
                f"For {kind} {wanted}-D input, hx and cx should also be {wanted}-D but got {dims}"
            )
        raise RuntimeError(
            f"For {kind} {wanted}-D input, hx should also be {wanted}-D but got"
            f" {state[0].dim()}-D tensor"
        )

    def _forward_packed(self, packed: PackedSequence, state: State | None) -> tuple[Any, Any]:
        data, batch_sizes, order, back = packed
        sizes = batch_sizes.tolist()
        self._check_input(data, batch_sizes)
        if state is None:
            state = self._zero_state(data, sizes[0])
        else:
            self._check_state(state, sizes[0])
            if order is not None:
                state = tuple(s.index_select(1, order) for s in state)
        out, last = self._run(data, sizes, state)
        if back is not None:
            last = tuple(s.index_select(1, back) for s in last)
        result = PackedSequence(out, batch_sizes, order, back)
        return result, last if self.mode == "LSTM" else last[0]


class RNN(RNNBase):
    """h = act(x W_ih^T + b_ih + h W_hh^T + b_hh) at each step (Elman 1990); act is tanh or relu.

    Args:
        input_size, hidden_size: sizes of x and h.
        num_layers: layers, each over the outputs of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases.
        batch_first: inputs and outputs are [B, T, *] instead of [T, B, *].
        dropout: between layers, in training.
        bidirectional: a second run from the end; outputs lie side by side.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self.__dict__["nonlinearity"] = args[3]
            args = args[:3] + args[4:]
        else:
            self.__dict__["nonlinearity"] = kwargs.pop("nonlinearity", "tanh")
        kind = self.__dict__["nonlinearity"]
        if kind not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{kind}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{kind.upper()}", *args, **kwargs)
        self.nonlinearity = kind


class LSTM(RNNBase):
    """Gates i, f, g, o of x W_ih^T + b_ih + h W_hh^T + b_hh; c = sigmoid(f) c + sigmoid(i) tanh(g),
    h = sigmoid(o) tanh(c) (Hochreiter and Schmidhuber 1997; Sak et al. 2014 for proj_size).

    Args:
        input_size, hidden_size: sizes of x and h.
        num_layers, bias, batch_first, dropout, bidirectional: as of RNN.
        proj_size: the outputs are h W_hr^T of this size.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gates r, z, n; n = tanh(x_n + r h_n), h' = (1 - z) n + z h (Cho et al. 2014).

    Args:
        input_size, hidden_size: sizes of x and h.
        num_layers, bias, batch_first, dropout, bidirectional: as of RNN.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


# ---- cells ---------------------------------------------------------------------------------------
class RNNCellBase(Module):
    """What the cells share: weight_ih, weight_hh, bias_ih, bias_hh, uniform in
    +-1 / sqrt(hidden_size)."""

    weight_ih: Parameter
    weight_hh: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        for name, shape in (
            ("weight_ih", (rows, input_size)),
            ("weight_hh", (rows, hidden_size)),
            ("bias_ih", (rows,) if bias else None),
            ("bias_hh", (rows,) if bias else None),
        ):
            made = None if shape is None else Parameter(_C.empty(shape, device=device, dtype=dtype))
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def _step(self, input: Tensor, state: State | None, count: int) -> tuple[State, bool]:
        """([B, size] input and state checked; the new state, and whether there was a batch)."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, s in enumerate(state or ()):
            if s.dim() not in (1, 2):
                where = "hidden" if count == 1 else f"hx[{i}]"
                raise ValueError(f"{name}: Expected {where} to be 1D or 2D, got {s.dim()}D instead")
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if x.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x.size(1)} expected {self.input_size}"
            )
        if state is None:
            zero = _C.zeros(x.size(0), self.hidden_size, dtype=x.dtype, device=x.device)
            state = (zero,) * count
        elif not batched:
            state = tuple(s.unsqueeze(0) for s in state)
        for i, s in enumerate(state):
            if s.size(0) != x.size(0):
                raise RuntimeError(
                    f"Input batch size {x.size(0)} doesn't match hidden{i} batch size {s.size(0)}"
                )
            if s.size(1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {s.size(1)}, expected"
                    f" {self.hidden_size}"
                )
        weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        if self.mode == "LSTM":
            weights.append(None)
        last = _run_layer(self.mode, x.unsqueeze(0), state, weights, False)[1]
        return last if batched else tuple(s.squeeze(0) for s in last), batched

    mode = ""


class RNNCell(RNNCellBase):
    """One step of RNN."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        self.mode = f"RNN_{self.nonlinearity.upper()}"
        return self._step(input, None if hx is None else (hx,), 1)[0][0]


class LSTMCell(RNNCellBase):
    """One step of LSTM: (input, (h, c)) -> (h, c)."""

    mode = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> State:
        return self._step(input, None if hx is None else tuple(hx), 2)[0]


class GRUCell(RNNCellBase):
    """One step of GRU."""

    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,), 1)[0][0]
