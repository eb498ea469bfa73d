"""Every fault over real programs: what is raised, what is left, and that all goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAMS = ("convolutions", "attention", "recurrent", "adversaries", "batches", "generation")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def inject_all(program: str, stride: int, **environment: str) -> None:
    script = Path(__file__).with_name("fault_programs.py")
    assert "tried" in run(str(script), program, str(stride), **environment).stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_some_faults(program: str) -> None:
    inject_all(program, 13, QS_MPS_DRIVER="fault:late:cpu")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("driver", ["fault:cpu", "fault:late:cpu"])
def test_every_fault(program: str, driver: str) -> None:
    inject_all(program, 1, QS_MPS_DRIVER=driver)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_faults_while_each_op_runs_at_once(program: str) -> None:
    inject_all(program, 3, QS_MPS_DRIVER="fault:cpu", QS_SYNC="1")


def script(text: str, driver: str = "fault:cpu") -> subprocess.CompletedProcess[str]:
    head = """
        import threading
        import numpy as np
        import quicksilver as torch
        from quicksilver.nn import functional as F

        def refuse(on=True):
            torch._C._refuse_blocks(1, 1 << 60 if on else 0)
        def raises(f, error=torch.OutOfMemoryError):
            try:
                f()
            except error as e:
                return str(e)
            raise AssertionError("nothing was raised")
    """
    return run("-c", textwrap.dedent(head) + textwrap.dedent(text), QS_MPS_DRIVER=driver)


@pytest.mark.parametrize("driver", ["fault:cpu", "fault:late:cpu"])
def test_what_is_overwritten_whole_is_good_again(driver: str) -> None:
    script(
        """
        w = torch.ones(4, 3, device="mps", requires_grad=True)
        x = torch.full((4, 3), 2.0, device="mps")
        torch.mps.synchronize()
        optimizer = torch.optim.SGD([w], lr=0.5)
        refuse()
        loss = (w * x).sum()
        loss.backward()
        raises(loss.item)
        refuse(False)
        raises(w.grad.tolist)
        raises(lambda: w.grad[0].zero_())   # the rest of it is still lost
        optimizer.zero_grad(set_to_none=False)
        assert w.grad.tolist() == [[0] * 3] * 4
        (w * x).sum().backward()
        optimizer.step()
        assert w.tolist() == [[0] * 3] * 4
        """,
        driver,
    )


@pytest.mark.parametrize("driver", ["fault:cpu", "fault:late:cpu"])
@pytest.mark.parametrize(
    "optimizer",
    ["SGD(p, lr=0.1, momentum=0.9)", "AdamW(p, lr=0.1)", "RMSprop(p, lr=0.1)", "Adagrad(p)"],
)
def test_an_optimizer_whose_first_step_failed_begins_anew(driver: str, optimizer: str) -> None:
    script(
        f"""
        def train(fail):
            w = torch.arange(8.0, device="mps").requires_grad_()
            p = [w]
            torch.mps.synchronize()
            optimizer = torch.optim.{optimizer}
            for i in range(4):
                optimizer.zero_grad()
                loss = (w * w).sum()
                refuse(fail and i == 0)
                loss.backward()
                optimizer.step()
                if fail and i == 0:
                    raises(loss.item)
                    assert w.tolist() == list(range(8))
                    refuse(False)
                    assert not any(torch._C._is_lost(w) for w in [w])
                if i == 2 and not fail:
                    break
            return w.tolist()
        a, b = train(False), train(True)
        assert a == b, (a, b)
        """,
        driver,
    )


@pytest.mark.parametrize("driver", ["fault:cpu", "fault:late:cpu"])
def test_what_was_recorded_behind_a_fault_writes_nothing_older(driver: str) -> None:
    script(
        """
        w = torch.ones(3, device="mps")
        average = torch.zeros(3, device="mps")
        torch.mps.synchronize()
        refuse()
        y = w * 2
        w.add_(y)
        torch._C.step_end()
        average.lerp_(w, 0.5)     # recorded before anybody knows
        refuse(False)
        raises(y.tolist)
        assert w.tolist() == [1] * 3
        assert average.tolist() == [0] * 3
        average.lerp_(w, 0.5)
        assert average.tolist() == [0.5] * 3
        """,
        driver,
    )


@pytest.mark.parametrize("driver", ["fault:cpu", "fault:late:cpu"])
def test_faults_in_hooks_printing_and_files(driver: str, tmp_path: Path) -> None:
    script(
        f"""
        path = {str(tmp_path / "w.pt")!r}
        w = torch.ones(3, device="mps", requires_grad=True)
        torch.mps.synchronize()
        seen = []
        def hook(g):
            refuse(len(seen) == 0)
            seen.append(1)
            try:
                return g * float((g * 2).sum().item())
            finally:
                refuse(False)
        w.register_hook(hook)
        raises(lambda: (w * 3).sum().backward())
        assert w.grad is None
        (w * 3).sum().backward()
        assert w.grad.tolist() == [54] * 3
        refuse()
        y = w.detach() * 2
        raises(lambda: repr(y))
        raises(lambda: str(y))
        raises(lambda: torch.save({{"w": w.detach(), "y": y}}, path))
        raises(lambda: y.cpu())
        raises(lambda: y.numpy() if False else bool(y.sum() > 0))
        refuse(False)
        assert "lost" not in repr(w)
        torch.save({{"w": w.detach()}}, path)
        assert torch.load(path)["w"].tolist() == [1] * 3
        refuse()
        raises(lambda: torch.load(path, map_location="mps"))
        state = {{"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}}
        refuse(False)
        m = torch.nn.Linear(3, 1).to("mps")
        torch.mps.synchronize()
        before = [p.tolist() for p in m.parameters()]
        refuse()
        raises(lambda: m.load_state_dict({{k: v.to("mps") for k, v in state.items()}}))
        refuse(False)
        assert [p.tolist() for p in m.parameters()] == before
        m.load_state_dict(state)
        assert m.weight.tolist() == [[0] * 3]
        """,
        driver,
    )


@pytest.mark.parametrize("driver", ["fault:cpu", "fault:late:cpu"])
def test_a_fault_in_a_second_thread_stays_there(driver: str) -> None:
    script(
        """
        w = torch.ones(3, device="mps")
        torch.mps.synchronize()
        told = []
        def other():
            refuse()
            y = w * 2
            try:
                y.tolist()
            except torch.OutOfMemoryError as e:
                told.append(e)
            refuse(False)
            told.append((w * 4).tolist())
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert isinstance(told[0], torch.OutOfMemoryError) and told[1] == [4] * 3, told
        assert (w + 1).tolist() == [2] * 3
        """,
        driver,
    )


@pytest.mark.parametrize("fault", ["build=1+", "submit=1+"])
def test_device_errors_that_nobody_reads_are_printed_at_exit(fault: str) -> None:
    done = script(
        f"""
        w = torch.ones(3, device="mps")
        torch.mps.synchronize()
        torch._C._inject_faults("{fault}")
        y = (w.sin() * 2).cos()
        torch._C.step_end()
        """
    )
    assert done.stderr.count("an error that was never read") == 1, done.stderr
