"""nn.functional's normalisation: batch, instance, group, local response, and p-norms."""

from __future__ import annotations

from collections.abc import Sequence

from quicksilver import _C

Tensor = _C.Tensor
_nn = _C._nn

layer_norm = _nn.layer_norm
rms_norm = _nn.rms_norm


def _need_more_than_one(size: Sequence[int]) -> None:
    count = size[0]
    for n in size[2:]:
        count *= n
    if count == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {size}"
        )


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel (dimension 1).

    While training with x's own mean and biased variance, and the running ones move by momentum
    towards the mean and the unbiased variance; else with the running ones.
    """
    if training:
        _need_more_than_one(input.size())
    if (running_mean is None) != (running_var is None) and training:
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    return _nn.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """batch_norm of each sample by itself."""
    if use_input_stats:
        size = input.size()
        count = 1
        for n in size[2:]:
            count *= n
        if count == 1:
            raise ValueError(
                f"Expected more than 1 spatial element when training, got input size {size}"
            )
    return _nn.instance_norm(
        input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps
    )


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """layer_norm over each of num_groups groups of channels; weight and bias by channel."""
    if input.dim() < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.dim()}"
        )
    size = input.size()
    _need_more_than_one([size[0] * size[1] // num_groups, num_groups, *size[2:]])
    return _nn_group_norm(input, num_groups, weight, bias, eps)


_nn_group_norm = _C.group_norm


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta.

    Krizhevsky et al. 2012.
    """
    dim = input.dim()
    if dim < 3:
        raise ValueError(
            "Expected 3D or higher dimensionality                          input"
            f" (got {dim} dimensions)"
        )
    if input.numel() == 0:
        return input
    div = input.mul(input)
    if dim == 3:
        div = div.unsqueeze(1)
        div = _nn.pad(div, (0, 0, size // 2, (size - 1) // 2))
        div = _nn.avg_pool2d(div, (size, 1), 1).squeeze(1)
    else:
        shape = input.size()
        div = div.reshape(shape[0], 1, shape[1], shape[2], -1)
        div = _nn.pad(div, (0, 0, 0, 0, size // 2, (size - 1) // 2))
        div = _nn.avg_pool3d(div, (size, 1, 1), 1).squeeze(1)
        div = div.reshape(shape)
    return input / div.mul(alpha).add(k).pow(beta)
