"""torch.mps, torch.backends, torch.accelerator, torch.cuda and the generators."""

from __future__ import annotations

import pytest

import quicksilver as torch
from quicksilver import mps


def test_what_there_is() -> None:
    b = torch.backends.mps
    assert b.is_built() and b.is_available() and mps.is_available() and mps.device_count() == 1
    assert b.driver() in ("cpu", "cuda", "metal") and b.get_name().startswith(b.driver())
    assert b.why_unavailable() == "" and b.get_core_count() >= 1
    assert isinstance(b.is_macos_or_newer(13, 0), bool)
    assert torch.accelerator.is_available() and torch.accelerator.device_count() == 1
    assert torch.accelerator.current_accelerator() == torch.device("mps")
    assert torch.accelerator.current_device_index() == 0
    with pytest.raises(mps.MPSDeviceError):
        torch.accelerator.set_device_index(1)


def test_cuda_is_not_there_and_asking_is_harmless() -> None:
    assert not torch.cuda.is_available() and torch.cuda.device_count() == 0
    torch.cuda.manual_seed_all(3)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() == 0
    with pytest.raises(mps.MPSDeviceError, match="mps"):
        torch.cuda.synchronize()
    with pytest.raises(mps.MPSDeviceError):
        torch.ones(1, device="cuda")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision("highest")
    with pytest.raises(RuntimeError):
        torch.set_float32_matmul_precision("low")


def test_memory_figures() -> None:
    mps.synchronize()
    before = mps.current_allocated_memory()
    x = torch.ones(1 << 18, device="mps")
    assert mps.current_allocated_memory() - before >= 1 << 20  # asking runs what is recorded
    assert mps.driver_allocated_memory() >= mps.current_allocated_memory()
    assert mps.max_allocated_memory() >= before + (1 << 20)
    assert mps.recommended_max_memory() > 1 << 28
    del x
    assert mps.current_allocated_memory() <= before
    mps.empty_cache()
    for bad, error in ((1, TypeError), ("x", TypeError), (-0.1, ValueError), (2.5, ValueError)):
        with pytest.raises(error, match="fraction"):
            mps.set_per_process_memory_fraction(bad)


def test_events() -> None:
    start, end = mps.Event(enable_timing=True), mps.Event(enable_timing=True)
    start.record()
    x = torch.ones(1000, 1000, device="mps")
    y = x @ x
    end.record()
    end.synchronize()
    assert end.query() and 0 < start.elapsed_time(end) < 60_000
    assert y[0, 0].item() == 1000
    with pytest.raises(RuntimeError, match="enable_timing"):
        mps.Event().elapsed_time(end)
    with pytest.raises(RuntimeError, match="recorded"):
        start.elapsed_time(mps.Event(enable_timing=True))


def test_profiler(capsys: pytest.CaptureFixture[str]) -> None:
    with mps.profiler.profile("interval,event"):
        (torch.ones(3, device="mps") * 2).tolist()
    assert "launches" in capsys.readouterr().err
    with pytest.raises(ValueError, match="mode"):
        mps.profiler.start("all")


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_seeds_and_states(device: str) -> None:
    get, put = (
        (mps.get_rng_state, mps.set_rng_state)
        if device == "mps"
        else (torch.get_rng_state, torch.set_rng_state)
    )
    torch.manual_seed(7)
    first = torch.rand(4, device=device).tolist()
    torch.manual_seed(7)
    assert torch.rand(4, device=device).tolist() == first
    state = get()
    assert state.dtype is torch.uint8 and not state.is_mps
    second = torch.randn(5, device=device).tolist()
    put(state)
    assert torch.randn(5, device=device).tolist() == second != first
    put(state)
    with torch.random.fork_rng():
        torch.rand(100, device=device)
    assert torch.randn(5, device=device).tolist() == second
    with pytest.raises(RuntimeError):
        put(torch.zeros(3, dtype=torch.uint8))


def test_the_default_device() -> None:
    torch.set_default_device("mps")
    try:
        assert torch.ones(2).is_mps and torch.nn.Linear(1, 1).weight.is_mps
        assert torch.get_default_device() == torch.device("mps")
        with torch.device("cpu"):
            assert not torch.ones(2).is_mps
        assert torch.ones(2).is_mps
    finally:
        torch.set_default_device(None)
    assert not torch.ones(2).is_mps


def test_the_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.ones(1).dtype is torch.float64 is torch.tensor(1.5).dtype
        assert repr(torch.ones(1)) == "tensor([1.])"
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(TypeError):
        torch.set_default_dtype(torch.int64)


def test_gradient_modes() -> None:
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()

    @torch.no_grad()
    def plain(y: torch.Tensor) -> torch.Tensor:
        """Doc."""
        return y * 2

    @torch.no_grad
    def bare(y: torch.Tensor) -> torch.Tensor:
        return y * 2

    assert not plain(x).requires_grad and plain.__doc__ == "Doc."
    assert not bare(x).requires_grad

    @torch.no_grad()
    def numbers() -> object:
        received = []
        try:
            for i in range(3):
                assert not torch.is_grad_enabled()
                received.append((yield i))
        except KeyError:
            assert not torch.is_grad_enabled()
            yield "caught"
        return received

    seen = []
    generator = numbers()
    for value in generator:
        assert torch.is_grad_enabled()
        seen.append(value)
        if value == 1:
            assert generator.throw(KeyError()) == "caught"
    assert seen == [0, 1]
    torch.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    torch.set_grad_enabled(True)
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()

    @torch.set_grad_enabled(False)
    def off() -> bool:
        return torch.is_grad_enabled()

    assert torch.is_grad_enabled() and not off()
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled() and not (x * 2).requires_grad
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError):
        with torch.no_grad():
            raise ZeroDivisionError
    assert torch.is_grad_enabled()


def test_own_functions_with_a_backward() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor, scale: float) -> torch.Tensor:
            ctx.save_for_backward(x)
            ctx.scale = scale
            return x**3 * scale

        @staticmethod
        def backward(ctx: object, grad: torch.Tensor) -> object:
            (x,) = ctx.saved_tensors
            assert ctx.needs_input_grad == (True, False)
            return 3 * x**2 * grad * ctx.scale, None

    for device in ("cpu", "mps"):
        x = torch.tensor([1.0, -2.0], device=device, requires_grad=True)
        y = Cube.apply(x, 2.0)
        assert y.grad_fn.name() == "CubeBackward"
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        assert g.tolist() == [6, 24]
        g.sum().backward()
        assert x.grad.tolist() == [12, -24]
        with torch.no_grad():
            assert Cube.apply(x, 1.0).grad_fn is None

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: object, grad: torch.Tensor) -> object:
            return grad, grad

    with pytest.raises(RuntimeError, match="incorrect number of gradients"):
        Wrong.apply(torch.ones(1, requires_grad=True)).backward()


def test_autograd_grad() -> None:
    x, z = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    y = (x * x).sum()
    with pytest.raises(RuntimeError):
        torch.autograd.grad(y, [x, z], retain_graph=True)
    got = torch.autograd.grad(y, [x, z], retain_graph=True, allow_unused=True)
    assert got[0].tolist() == [2, 2] and got[1] is None
    got = torch.autograd.grad(y, [x, z], materialize_grads=True)
    assert got[1].tolist() == [0]
    a = torch.ones(2, requires_grad=True)
    torch.autograd.backward([a * 2, a * 3], [torch.ones(2), torch.ones(2)])
    assert a.grad.tolist() == [5, 5]


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_einsum_and_grids(device: str) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = {
        "ij,jk->ik": [(2, 3), (3, 4)],
        "bij,bjk->bik": [(5, 2, 3), (5, 3, 4)],
        "bhqd,bhkd->bhqk": [(2, 3, 4, 5), (2, 3, 6, 5)],
        "i,j": [(3,), (4,)],
        "ii->i": [(3, 3)],
        "ii": [(3, 3)],
        "ij->ji": [(2, 3)],
        "ij->": [(2, 3)],
        "...ij,...jk->...ik": [(7, 1, 2, 3), (5, 3, 4)],
        "i,i,i->i": [(3,), (3,), (3,)],
        "ij,j,k->ik": [(2, 3), (3,), (4,)],
        "b i j , j -> b i": [(2, 3, 4), (4,)],
    }
    for equation, sizes in shapes.items():
        arrays = [rng.standard_normal(size).astype(np.float32) for size in sizes]
        got = torch.einsum(equation, *[torch.from_numpy(a).to(device) for a in arrays])
        want = np.einsum(equation, *arrays)
        np.testing.assert_allclose(got.cpu().numpy(), want, rtol=1e-4, atol=1e-5)
    with pytest.raises((ValueError, RuntimeError)):
        torch.einsum("ij,jk->ik", torch.ones(2, 3), torch.ones(4, 2))
    with pytest.raises((ValueError, RuntimeError)):
        torch.einsum("ij->ijk", torch.ones(2, 3))
    a, b = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
    assert a.tolist() == [[0] * 3, [1] * 3] and b.tolist() == [[0, 1, 2]] * 2
    assert torch.broadcast_shapes((2, 1), (3,)) == (2, 3)
    assert torch.broadcast_tensors(torch.ones(2, 1), torch.ones(3))[1].shape == (2, 3)
