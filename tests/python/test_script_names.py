"""Names that scripts use and that say little here: torch.jit, torch.hub, torch.cuda."""

from __future__ import annotations

import hashlib
import typing
import warnings
import zipfile
from pathlib import Path

import pytest

import quicksilver as torch
from quicksilver import hub, jit, nn


def test_jit_runs_programs_as_they_stand() -> None:
    @jit.script
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    class Net(nn.Module):
        scale: jit.Final[int]

        def __init__(self) -> None:
            super().__init__()
            self.scale = 3

        @jit.ignore
        def aside(self) -> int:
            return 1

        @jit.unused
        @jit.export
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if jit.is_scripting() else twice(x) * self.scale

    net = jit.script(Net().eval())
    assert net(torch.ones(2)).tolist() == [6, 6] and net.aside() == 1
    assert jit.trace(net, torch.ones(2)) is net and jit.freeze(net) is net
    assert not jit.is_tracing()
    with pytest.raises(RuntimeError, match="eval mode"):
        jit.freeze(net.train())
    for call in (lambda: jit.save(net, "x"), lambda: jit.load("x")):
        with pytest.raises(NotImplementedError, match="TorchScript"):
            call()


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        ([1, 2], list[int], True),
        ([1, "a"], list[int], False),
        ({"a": 1.0}, dict[str, float], True),
        ((1, "a"), tuple[int, str], True),
        ((1, 2, 3), tuple[int, int], False),
        (None, typing.Optional[int], True),  # noqa: UP045
        (3, (str, int), True),
    ],
)
def test_jit_isinstance(value: object, kind: object, wanted: bool) -> None:
    assert jit.isinstance(value, kind) is wanted


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    torch.save({"w": torch.arange(3.0)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(tmp_path / f"weights-{digest}.pth")


def test_hub_keeps_what_it_loads(checkpoint: Path, tmp_path: Path) -> None:
    before = hub.get_dir()
    hub.set_dir(tmp_path / "hub")
    try:
        url = checkpoint.as_uri()
        for _ in range(2):  # the second time from the folder
            state = hub.load_state_dict_from_url(url, progress=False, check_hash=True)
            assert state["w"].tolist() == [0, 1, 2]
            checkpoint.unlink(missing_ok=True)
        assert (tmp_path / "hub" / "checkpoints" / checkpoint.name).exists()
    finally:
        hub.set_dir(before)


def test_hub_checks_hashes_and_leaves_nothing_behind(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "got.pth"
    with pytest.raises(RuntimeError, match="invalid hash value"):
        hub.download_url_to_file(checkpoint.as_uri(), str(target), "0000", progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == [checkpoint.name]


def test_hub_reads_a_checkpoint_in_an_archive(checkpoint: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(checkpoint, "inner.pth")
    state = hub.load_state_dict_from_url(
        archive.as_uri(), str(tmp_path / "kept"), map_location="mps", progress=False
    )
    assert state["w"].is_mps


def test_switches_are_kept() -> None:
    torch._inductor.config.coordinate_descent_tuning = True
    torch._inductor.config.triton.unique_kernel_names = False
    torch._dynamo.config.suppress_errors = True
    torch.backends.opt_einsum.strategy = "auto"
    assert torch._inductor.config.coordinate_descent_tuning and torch._dynamo.config.suppress_errors
    torch._dynamo.reset()
    with torch.backends.cuda.sdp_kernel(enable_flash=False) as chosen:
        assert not chosen["enable_flash"] and chosen["enable_math"]
    assert torch.storage.UntypedStorage is type(torch.ones(1).untyped_storage())
    fused, foreach = torch.optim.optimizer._default_to_fused_or_foreach([], False)
    assert not fused and not foreach


def test_memory_of_the_accelerator() -> None:
    torch.accelerator.synchronize()
    before = torch.accelerator.memory_allocated()
    x = torch.ones(1 << 18, device="mps")
    assert torch.accelerator.memory_allocated(0) - before >= 1 << 20
    assert torch.accelerator.max_memory_allocated() >= before + x.numel() * 4
    assert torch.accelerator.memory_stats()["live_bytes"] > 0


def test_the_older_comparison_looks_at_values_alone() -> None:
    x = torch.tensor([1.0, float("nan")])
    torch.testing.assert_allclose(x, x.double())
    torch.testing.assert_allclose([1.0, 2.0], torch.tensor([1.0, 2.0]))
    with pytest.raises(AssertionError):
        torch.testing.assert_allclose(x, x + 1)


def test_mixed_precision_for_cuda_is_switched_off() -> None:
    x = torch.ones(2, 2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        scaler = torch.cuda.amp.GradScaler()
        with torch.cuda.amp.autocast(), torch.autocast("cuda", dtype=torch.bfloat16):
            assert (x @ x).dtype is torch.float32 and not torch.is_autocast_enabled("cuda")
        other = torch.amp.GradScaler("cuda", enabled=False)
    assert not scaler.is_enabled() and scaler.state_dict() == {} and not other.is_enabled()
    assert scaler.scale(x) is x and scaler.get_scale() == 1.0
    assert [w.category for w in said].count(FutureWarning) == 2
    assert sum("CUDA is not available" in str(w.message) for w in said) == 3
    assert torch.get_autocast_gpu_dtype() is torch.float16
    assert torch.GradScaler is torch.amp.GradScaler
