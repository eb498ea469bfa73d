"""L-BFGS with an optional strong-Wolfe line search (Nocedal and Wright, Numerical Optimization,
algorithms 7.4, 3.5 and 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from quicksilver import _C
from quicksilver._grad_mode import enable_grad, no_grad
from quicksilver.optim.optimizer import Optimizer, ParamsT

Tensor = _C.Tensor


class _Point(NamedTuple):
    """The objective along the search direction d: at step t its value, gradient and slope."""

    t: float
    value: float
    gradient: Tensor
    slope: float  # gradient . d


class LBFGS(Optimizer):
    """Limited-memory BFGS over all parameters as one vector; one group only.

    Args:
        params: the parameters.
        lr: the step along the direction found (its first guess with a line search).
        max_iter: iterations a call of step.
        max_eval: calls of the closure a call of step; max_iter * 5 / 4 by default.
        tolerance_grad: ends when no gradient is larger.
        tolerance_change: ends when neither a parameter nor the loss changes by more.
        history_size: how many steps are remembered.
        line_search_fn: "strong_wolfe" or None.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    # ---- all parameters as one vector -----------------------------------------------------------
    def _gradient(self) -> Tensor:
        parts = [
            _C.zeros(p.numel(), dtype=p.dtype, device=p.device)
            if p.grad is None
            else p.grad.reshape(-1)
            for p in self._params
        ]
        return _C.cat(parts)

    def _move(self, t: float, direction: Tensor) -> None:
        start = 0
        for p in self._params:
            p.add_(direction[start : start + p.numel()].view_as(p), alpha=t)
            start += p.numel()

    def _evaluate(self, closure: Callable[[], float], t: float, direction: Tensor) -> _Point:
        """The point at step t; the parameters come back to where they were."""
        saved = [p.clone() for p in self._params]
        self._move(t, direction)
        value = closure()
        gradient = self._gradient()
        for p, old in zip(self._params, saved, strict=True):
            p.copy_(old)
        return _Point(t, value, gradient, _dot(gradient, direction))

    # ---- a step ---------------------------------------------------------------------------------
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; closure clears the gradients, computes the loss, calls
        backward and returns the loss. Returns the loss at the start.

        Raises:
            RuntimeError: line_search_fn is unknown.
            TypeError: there is no closure.
        """
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")
        with no_grad():
            return self._step(closure)

    def _step(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        search = group["line_search_fn"]
        lr, tolerance = float(group["lr"]), group["tolerance_change"]
        own = self.state[self._params[0]]  # one state for all, kept with the first parameter
        own.setdefault("func_evals", 0)
        own.setdefault("n_iter", 0)

        def evaluate() -> float:
            with enable_grad():
                return float(closure())

        with enable_grad():
            first_loss = closure()
        loss = float(first_loss)
        evaluations = 1
        own["func_evals"] += 1
        gradient = self._gradient()
        if _largest(gradient) <= group["tolerance_grad"]:
            return first_loss
        direction, t = own.get("d"), own.get("t")
        iterations = 0
        while iterations < group["max_iter"]:
            iterations += 1
            own["n_iter"] += 1
            direction = _direction(own, gradient, direction, t, group["history_size"])
            own["prev_flat_grad"], previous_loss = gradient.clone(), loss
            t = min(1.0, 1.0 / gradient.abs().sum().item()) * lr if own["n_iter"] == 1 else lr
            slope = _dot(gradient, direction)
            if slope > -tolerance:
                break
            calls = 0
            if search is not None:
                if search != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                start = _Point(0.0, loss, gradient, slope)

                def along(step: float, d: Tensor = direction) -> _Point:
                    return self._evaluate(evaluate, step, d)

                most = group["max_eval"] - evaluations
                found, calls = strong_wolfe(along, t, start, _largest(direction), most, tolerance)
                loss, gradient, t = found.value, found.gradient, found.t
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iterations != group["max_iter"]:  # the last one's loss is not needed
                    loss, calls = evaluate(), 1
                    gradient = self._gradient()
            evaluations += calls
            own["func_evals"] += calls
            if (
                evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction * t) <= tolerance
                or abs(loss - previous_loss) < tolerance
            ):
                break
        own.update(d=direction, t=t, prev_loss=loss)
        return first_loss


def _dot(a: Tensor, b: Tensor) -> float:
    return a.dot(b).item()


def _largest(x: Tensor) -> float:
    return x.abs().max().item()


def _direction(
    own: dict[str, Any], gradient: Tensor, last: Tensor | None, t: float | None, size: int
) -> Tensor:
    """-H g, H the inverse Hessian as the remembered steps tell (two-loop recursion)."""
    if own["n_iter"] == 1 or last is None or t is None:
        own.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
        return gradient.neg()
    changes, steps, scales = own["old_dirs"], own["old_stps"], own["ro"]
    change, step = gradient - own["prev_flat_grad"], last * t
    curvature = _dot(change, step)
    if curvature > 1e-10:
        if len(changes) == size:
            for memory in (changes, steps, scales):
                memory.pop(0)
        changes.append(change)
        steps.append(step)
        scales.append(1.0 / curvature)
        own["H_diag"] = curvature / _dot(change, change)
    direction = gradient.neg()
    weights = [0.0] * len(changes)
    for i in reversed(range(len(changes))):
        weights[i] = _dot(steps[i], direction) * scales[i]
        direction = direction.add(changes[i], alpha=-weights[i])
    direction = direction * own["H_diag"]
    for i in range(len(changes)):
        weight = weights[i] - _dot(changes[i], direction) * scales[i]
        direction = direction.add(steps[i], alpha=weight)
    return direction


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two values and slopes is least, within bounds."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square**0.5
    if a.t > b.t:
        a, b = b, a
    least = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(least, low), high)


def strong_wolfe(
    along: Callable[[float], _Point],
    t: float,
    start: _Point,
    longest: float,
    most: int = 25,
    tolerance: float = 1e-9,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[_Point, int]:
    """(a point that satisfies the strong Wolfe conditions, how often `along` was called).

    First steps grow until an interval is known that holds such a point, then it is narrowed down.
    """

    def too_high(p: _Point) -> bool:
        return p.value > start.value + c1 * p.t * start.slope

    def flat_enough(p: _Point) -> bool:
        return abs(p.slope) <= -c2 * start.slope

    before, now = start, along(t)
    calls, rounds = 1, 0
    bracket: list[_Point] = []
    while rounds < most:
        if too_high(now) or (rounds > 1 and now.value >= before.value):
            bracket = [before, now]
            break
        if flat_enough(now):
            return now, calls
        if now.slope >= 0:
            bracket = [before, now]
            break
        bounds = (now.t + 0.01 * (now.t - before.t), now.t * 10)
        before, now = now, along(_cubic_minimum(before, now, bounds))
        calls += 1
        rounds += 1
    else:
        bracket = [start, now]
    tests = (too_high, flat_enough)
    return _narrow(along, bracket, tests, longest, tolerance, calls, most - rounds)


def _narrow(
    along: Callable[[float], _Point],
    bracket: list[_Point],
    tests: tuple[Callable[[_Point], bool], Callable[[_Point], bool]],
    longest: float,
    tolerance: float,
    calls: int,
    rounds: int,
) -> tuple[_Point, int]:
    """Narrows the bracket around a point that satisfies both conditions."""
    too_high, flat_enough = tests
    slow = False  # the last trial was too near an end
    low, high = (0, 1) if bracket[0].value <= bracket[1].value else (1, 0)
    for _ in range(rounds):
        left, right = sorted((bracket[0].t, bracket[1].t))
        if (right - left) * longest < tolerance:
            break
        t = _cubic_minimum(*bracket)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            if slow or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                slow = False
            else:
                slow = True
        else:
            slow = False
        now = along(t)
        calls += 1
        if too_high(now) or now.value >= bracket[low].value:
            bracket[high] = now
            low, high = (0, 1) if bracket[0].value <= bracket[1].value else (1, 0)
            continue
        done = flat_enough(now)
        if not done and now.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = now
        if done:
            break
    return bracket[low], calls
