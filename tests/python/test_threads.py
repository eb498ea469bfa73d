"""Threads, the interpreter's lock, signals, forks and interpreters beside the device."""

from __future__ import annotations

import os

import pytest
from test_faults import run

# Ends the process, with the stacks of all threads, where something would wait for ever.
WATCH = """
    import faulthandler, os, signal, sys, threading, time
    faulthandler.dump_traceback_later(120, exit=True)
    import numpy as np
    import quicksilver as torch
"""
DRIVERS = ["cpu", "late:cpu"]


def test_a_thread_records_on_while_a_plan_runs() -> None:
    script = """
    y = torch.full((32, 32), 0.5, device="mps")
    torch.mps.synchronize()
    y = y @ y
    z = torch.ones(3, device="mps")
    w = torch.zeros(3, device="mps")
    torch.mps.synchronize()
    w.add_(1)
    z = z + 1  # recorded with y: the reader's cut takes all of it along
    y = y @ y
    torch._C._hold_submits(True)
    read = []
    reader = threading.Thread(target=lambda: read.append(y.sum().item()))
    reader.start()
    while torch._C._fault_counts()["held"] == 0:
        time.sleep(0.001)
    for i in range(100):  # the plan is in the driver's hands, and stays there
        z = z + 1
        w.add_(1)
        y2 = y + z.sum()
    assert torch._C._fault_counts()["held"] == 1 and not read
    torch._C._hold_submits(False)
    reader.join()
    assert z.tolist() == [102] * 3 and w.tolist() == [101] * 3
    assert y2[0, 0].item() == y[0, 0].item() + 306 and read[0] == y.sum().item()
    """
    run(WATCH + script, QS_MPS_DRIVER="fault:cpu")


def test_what_such_a_plan_fails_to_make_is_lost_for_those_who_recorded_uses() -> None:
    script = """
    table = torch.ones(4, device="mps")
    w = torch.ones(1, device="mps")
    bad = torch.tensor([7], device="mps")
    torch.mps.synchronize()
    rows = table[bad]
    good = table * 2
    torch._C._hold_submits(True)
    def reader():
        try:
            good.tolist()
        except IndexError:
            pass
    thread = threading.Thread(target=reader)
    thread.start()
    while torch._C._fault_counts()["held"] == 0:
        time.sleep(0.001)
    use = rows + 1
    fine = good + 1
    w.add_(rows)
    torch._C._hold_submits(False)
    thread.join()
    for lost in (use, rows, use):
        try:
            lost.tolist()
        except IndexError as e:
            assert "index 7" in str(e)
        else:
            raise AssertionError("nothing was raised")
    assert fine.tolist() == [3] * 4 and w.tolist() == [1]
    """
    run(WATCH + script, QS_MPS_DRIVER="fault:cpu")


@pytest.mark.parametrize("driver", DRIVERS)
def test_threads_that_record_read_and_die(driver: str) -> None:
    script = """
    w = torch.zeros(16, device="mps")
    shared = [torch.ones(16, device="mps") for _ in range(4)]
    kept, failures = [], []
    def work(i):
        try:
            x = torch.full((16,), float(i), device="mps")
            for j in range(12):
                x = x + shared[(i + j) % 4]
                if j % 5 == i % 5:
                    assert x.sum().item() == 16 * (i + j + 1)
                if j == 6:
                    w.add_(1)
            kept.append((i, x))  # and the thread dies with its work undone
        except BaseException as e:
            failures.append(e)
    for round in range(12):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
        for t in threads: t.start()
        for t in threads: t.join()
    assert not failures, failures
    assert w.tolist() == [60] * 16
    assert all(x.tolist() == [i + 12] * 16 for i, x in kept)
    """
    run(WATCH + script, QS_MPS_DRIVER=driver)


@pytest.mark.parametrize("driver", DRIVERS)
def test_daemon_threads_at_exit(driver: str) -> None:
    script = """
    x = torch.full((200, 200), 1e-3, device="mps")
    def forever():
        y = x
        while True:
            y = (y @ x).tanh()
            y.sum().item()
    def trainer():
        model = torch.nn.Linear(8, 8).to("mps")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        data = torch.ones(4, 8, device="mps")
        while True:
            optimizer.zero_grad()
            loss = model(data).square().sum()
            loss.register_hook(lambda g: g * 1)
            loss.backward()
            optimizer.step()
    for target in (forever, forever, trainer):
        threading.Thread(target=target, daemon=True).start()
    time.sleep(0.1)
    print("end")
    """
    for _ in range(4):
        done = run(WATCH + script, QS_MPS_DRIVER=driver)
        assert done.stdout == "end\n" and "terminate" not in done.stderr, done.stderr


@pytest.mark.parametrize("driver", DRIVERS)
def test_exceptions_of_hooks_on_other_threads(driver: str) -> None:
    script = """
    class Stop(Exception):
        pass
    results = []
    def work(i):
        w = torch.ones(4, device="mps", requires_grad=True)
        for j in range(20):
            y = (w * 2).relu()
            if (i + j) % 3 == 0:
                y.register_hook(lambda g: (_ for _ in ()).throw(Stop("no")))
            try:
                y.sum().backward()
                results.append(("good", w.grad.tolist()))
            except Stop:
                results.append(("stopped", w.grad))
            w.grad = None
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert sum(kind == "stopped" for kind, _ in results) == 27, len(results)
    assert all(g == [2] * 4 for kind, g in results if kind == "good")
    assert all(g is None for kind, g in results if kind == "stopped")
    assert len(results) == 80
    """
    run(WATCH + script, QS_MPS_DRIVER=driver)


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_interrupt_during_a_long_run(driver: str) -> None:
    script = """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    x = torch.full((300, 300), 1 / 300, device="mps")
    w = torch.zeros(4, device="mps")
    steps = interrupts = 0
    def interrupt():
        for i in range(5):
            while interrupts < i:
                time.sleep(0.001)  # two signals at once would be one interrupt
            time.sleep(0.03)
            os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    thread.start()
    y = x
    while interrupts < 5:
        try:
            while True:
                for _ in range(4):
                    y = y @ x
                y.sum().item()  # the signal waits until this is over, and is not lost
                w.add_(1)
                steps += 1
        except KeyboardInterrupt:
            interrupts += 1
    thread.join()
    done = w.tolist()
    assert done[0] in (steps, steps + 1) and done == [done[0]] * 4, (done, steps)
    assert abs((x @ x).sum().item() - 300) < 1e-2
    """
    run(WATCH + script, QS_MPS_DRIVER=driver)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("driver", DRIVERS)
def test_workers_of_a_loader_beside_tensors_of_mps(driver: str) -> None:
    script = """
    from quicksilver.utils.data import DataLoader, Dataset
    weights = torch.ones(4, 4, device="mps")
    pending = weights @ weights
    class Numbers(Dataset):
        held = weights  # goes to the workers with the rest, and dies there
        def __len__(self):
            return 12
        def __getitem__(self, i):
            try:
                weights + 1
            except torch.mps.MPSDeviceError:
                return torch.full((4,), float(i)) * 2
            raise AssertionError("mps works in a worker")
    for _ in range(2):
        total = 0
        for x in DataLoader(Numbers(), batch_size=3, num_workers=2):
            total += (x.to("mps") @ weights).sum().item()
            weights = weights * 1
        assert total == 2 * 66 * 16, total
    assert pending.tolist() == [[4] * 4] * 4
    assert torch._C._live_blocks("mps") < 20
    """
    done = run(WATCH + script, QS_MPS_DRIVER=driver)
    assert done.stderr == ""


def test_a_subinterpreter_is_refused() -> None:
    script = """
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    inner = "\\n".join((
        "try:",
        "    import quicksilver._C",
        "except ImportError as e:",
        "    assert 'subinterpreter' in str(e), e",
        "else:",
        "    raise AssertionError('it was imported')",
    ))
    interpreter = interpreters.create()
    failure = interpreters.run_string(interpreter, inner)
    assert failure is None, failure
    os._exit(0)  # what CPython 3.11 leaves of a destroyed one is not our subject
    """
    run(WATCH + script)
