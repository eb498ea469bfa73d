"""Training loops and their kin into which the fault tests inject every fault.

Run as ``python fault_programs.py PROGRAM STRIDE`` with ``QS_MPS_DRIVER=fault:cpu`` (or
``fault:late:cpu``). For every STRIDE-th n, and each kind of call to the driver, the n-th
call fails, alone or with all that follow it, and then

- what is raised has PyTorch's type, or nothing is raised and nothing differs;
- every tensor that was there before can be read. Its value is what some prefix of the program,
  run op by op, leaves: all updates up to a point have happened, and none behind it;
- the program goes on from there with the very bits of an undisturbed one from the same state;
- nothing is leaked.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import quicksilver as torch
from quicksilver import nn
from quicksilver.nn import functional as F

STEPS = 3
State = dict[str, np.ndarray]


class Program:
    """A loop with state. Subclasses make `parts` (modules, optimizers, tensors, by name)."""

    parts: dict[str, Any]

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.rng = np.random.default_rng(0)
        self.parts = {}
        self.marks: list[State] | None = None
        self.make()

    def make(self) -> None:
        raise NotImplementedError

    def step(self, i: int) -> float:
        raise NotImplementedError

    def mark(self) -> None:
        """Every tensor has been written as often as every other."""
        if self.marks is not None:
            self.marks.append(self.state())

    def array(self, *shape: int) -> torch.Tensor:
        return torch.from_numpy(self.rng.standard_normal(shape).astype("float32")).to("mps")

    def classes(self, n: int, of: int) -> torch.Tensor:
        return torch.from_numpy(self.rng.integers(0, of, n)).to("mps")

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """What outlives a step."""
        for name, part in self.parts.items():
            if isinstance(part, torch.optim.Optimizer):
                for at, own in part.state_dict()["state"].items():
                    for key, value in own.items():
                        if isinstance(value, torch.Tensor):
                            yield f"{name}.{at}.{key}", value
            elif isinstance(part, nn.Module):
                for key, value in part.state_dict().items():
                    yield f"{name}.{key}", value
            elif isinstance(part, torch.Tensor):
                yield name, part

    def state(self) -> State:
        """What can be read of them."""
        return {
            name: t.detach().cpu().numpy().copy()
            for name, t in self.tensors()
            if not torch._C._is_lost(t)
        }

    def order(self) -> list[list[str]]:
        """Names in the order in which they are written between two marks; those that one op writes
        together."""
        names: dict[int, str] = {}
        groups = []
        for part, model in self.parts.items():
            if isinstance(model, nn.Module):
                names |= {id(p): f"{part}.{name}" for name, p in model.named_parameters()}
                buffers = [f"{part}.{name}" for name, _ in model.named_buffers()]
                groups += [[name] for name in sorted(buffers, key=buffer_rank)]
        for part, optimizer in self.parts.items():
            if isinstance(optimizer, torch.optim.Optimizer):
                for i, p in enumerate(p for g in optimizer.param_groups for p in g["params"]):
                    kept = [
                        k
                        for k in ("exp_avg", "exp_avg_sq", "momentum_buffer")
                        if k in optimizer.state[p]
                    ]
                    groups.append([names.pop(id(p))] + [f"{part}.{i}.{k}" for k in kept])
        groups += [[name] for name in names.values()]
        groups += [[n] for n, part in self.parts.items() if isinstance(part, torch.Tensor)]
        return groups

    def checkpoint(self) -> dict[str, Any]:
        """Everything, on the host."""
        saved = {}
        for name, part in self.parts.items():
            if isinstance(part, torch.Tensor):
                saved[name] = part.cpu().clone()
            elif hasattr(part, "state_dict"):
                saved[name] = copy.deepcopy(on_host(part.state_dict()))
        return {"parts": saved, "rng": torch.mps.get_rng_state()}

    def load(self, saved: dict[str, Any]) -> None:
        for name, value in saved["parts"].items():
            part = self.parts[name]
            if isinstance(part, torch.Tensor):
                with torch.no_grad():
                    part.copy_(value)
            else:
                part.load_state_dict(copy.deepcopy(value))
        torch.mps.set_rng_state(saved["rng"])


def on_host(tree: Any) -> Any:
    """A copy; the state of a parameter is left out when some of it is lost."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().cpu().clone()
    if isinstance(tree, dict):
        return {key: on_host(value) for key, value in tree.items() if not has_lost(value)}
    return tree


def has_lost(own: Any) -> bool:
    return isinstance(own, dict) and any(
        isinstance(t, torch.Tensor) and torch._C._is_lost(t) for t in own.values()
    )


def buffer_rank(name: str) -> tuple[str, int]:
    module, _, name = name.rpartition(".")
    return module, ["num_batches_tracked", "running_mean", "running_var"].index(name)


class Convolutions(Program):
    """conv, batch norm, pooling, cross entropy, AdamW."""

    def make(self) -> None:
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        ).to("mps")
        self.parts = {"model": model, "adam": torch.optim.AdamW(model.parameters(), lr=0.01)}
        self.x, self.y = self.array(8, 1, 8, 8), self.classes(8, 3)

    def step(self, i: int) -> float:
        adam = self.parts["adam"]
        adam.zero_grad()
        loss = F.cross_entropy(self.parts["model"](self.x), self.y)
        loss.backward()
        adam.step()
        self.mark()
        return loss.item()


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = (
            part.view(b, t, self.heads, c // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(c, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.out(y.transpose(1, 2).reshape(b, t, c)))
        return x + self.drop(self.mlp(self.norm2(x)))


class Attention(Program):
    """A small transformer with dropout, gradients clipped, SGD with momentum."""

    def make(self) -> None:
        model = nn.Sequential(nn.Embedding(11, 16), Block(16, 2), nn.Linear(16, 11)).to("mps")
        self.parts = {
            "model": model,
            "sgd": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        }
        self.tokens = self.classes(4 * 7, 11).view(4, 7)

    def step(self, i: int) -> float:
        model, sgd = self.parts["model"], self.parts["sgd"]
        logits = model(self.tokens[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, 11), self.tokens[:, 1:].reshape(-1))
        sgd.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        sgd.step()
        self.mark()
        return loss.item()


class Recurrent(Program):
    """An LSTM whose state is carried from step to step."""

    def make(self) -> None:
        self.lstm, self.head = nn.LSTM(5, 8, 2, batch_first=True), nn.Linear(8, 5)
        both = nn.ModuleList([self.lstm, self.head]).to("mps")
        self.parts = {
            "model": both,
            "adam": torch.optim.Adam(both.parameters(), lr=0.01),
            "h": torch.zeros(2, 3, 8, device="mps"),
            "c": torch.zeros(2, 3, 8, device="mps"),
        }
        self.x = self.array(3, 6, 5)

    def step(self, i: int) -> float:
        adam = self.parts["adam"]
        y, (h, c) = self.lstm(self.x[:, :-1], (self.parts["h"], self.parts["c"]))
        loss = F.mse_loss(self.head(y), self.x[:, 1:])
        adam.zero_grad()
        loss.backward()
        adam.step()
        value = loss.item()
        torch.mps.synchronize()
        self.parts["h"].copy_(h.detach())
        self.parts["c"].copy_(c.detach())
        self.mark()
        return value


class Adversaries(Program):
    """A GAN: two models, two optimizers, two losses a step."""

    def make(self) -> None:
        g = nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
        d = nn.Sequential(nn.Linear(6, 12), nn.LeakyReLU(0.2), nn.Linear(12, 1))
        g, d = g.to("mps"), d.to("mps")
        self.parts = {
            "g": g,
            "d": d,
            "of_d": torch.optim.Adam(d.parameters(), lr=0.01, betas=(0.5, 0.9)),
            "of_g": torch.optim.Adam(g.parameters(), lr=0.01, betas=(0.5, 0.9)),
        }
        self.real = self.array(8, 6)

    def step(self, i: int) -> float:
        g, d, of_d, of_g = (self.parts[name] for name in ("g", "d", "of_d", "of_g"))
        ones, zeros = torch.ones(8, 1, device="mps"), torch.zeros(8, 1, device="mps")
        fake = g(torch.randn(8, 4, device="mps"))
        of_d.zero_grad()
        loss_d = F.binary_cross_entropy_with_logits(d(self.real), ones)
        loss_d = loss_d + F.binary_cross_entropy_with_logits(d(fake.detach()), zeros)
        loss_d.backward()
        of_d.step()
        of_g.zero_grad()
        loss_g = F.binary_cross_entropy_with_logits(d(fake), ones)
        loss_g.backward()
        of_g.step()
        self.mark()
        return loss_d.item() + loss_g.item()


class Batches(Program):
    """A loader with a short last batch, a schedule, an average of the weights."""

    def make(self) -> None:
        x, y = self.array(22, 6).cpu(), self.classes(22, 4).cpu()
        self.loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x, y), batch_size=8
        )
        model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)).to("mps")
        sgd = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-3)
        self.parts = {
            "model": model,
            "average": copy.deepcopy(model),
            "sgd": sgd,
            "schedule": torch.optim.lr_scheduler.StepLR(sgd, 1, 0.5),
        }

    def step(self, i: int) -> float:
        model, average, sgd = (self.parts[name] for name in ("model", "average", "sgd"))
        total = torch.zeros((), device="mps")
        for x, y in self.loader:
            sgd.zero_grad()
            loss = F.cross_entropy(model(x.to("mps")), y.to("mps"))
            loss.backward()
            sgd.step()
            with torch.no_grad():
                for a, p in zip(average.parameters(), model.parameters(), strict=True):
                    a.lerp_(p, 0.1)
            total += loss.detach()
            self.mark()
        self.parts["schedule"].step()
        return total.item()


class Generation(Program):
    """Tokens one by one, keys and values written into a cache in place."""

    def make(self) -> None:
        self.embed, self.qkv = nn.Embedding(9, 8).to("mps"), nn.Linear(8, 24).to("mps")
        self.head = nn.Linear(8, 9).to("mps")
        self.parts = {
            "keys": torch.zeros(1, 2, 16, 4, device="mps"),
            "values": torch.zeros(1, 2, 16, 4, device="mps"),
            "tokens": torch.zeros(17, dtype=torch.long, device="mps"),
        }

    @torch.no_grad()
    def step(self, i: int) -> float:
        keys, values, tokens = (self.parts[name] for name in ("keys", "values", "tokens"))
        for at in range(4 * i, 4 * i + 4):
            q, k, v = (
                part.view(1, 1, 2, 4).transpose(1, 2)
                for part in self.qkv(self.embed(tokens[at : at + 1])).split(8, dim=1)
            )
            keys[:, :, at : at + 1] = k
            values[:, :, at : at + 1] = v
            y = F.scaled_dot_product_attention(q, keys[:, :, : at + 1], values[:, :, : at + 1])
            logits = self.head(y.transpose(1, 2).reshape(1, 8))
            choice = torch.multinomial(logits.softmax(1), 1)[0]
            tokens[at + 1 : at + 2] = choice
            self.mark()
        return float(choice.item())


PROGRAMS: dict[str, Callable[[], Program]] = {
    p.__name__.lower(): p
    for p in (Convolutions, Attention, Recurrent, Adversaries, Batches, Generation)
}


# ---- faults -------------------------------------------------------------------------------------

KINDS = {
    "block": "blocks",
    "alloc": "allocs",
    "build": "builds",
    "submit": "submits",
    "wait": "waits",
}
FOREVER = 1 << 60


def inject(kind: str = "", n: int = 0, last: int = 0) -> None:
    torch._C._inject_faults("")
    torch._C._refuse_blocks(1, 0)
    if kind == "block":
        torch._C._refuse_blocks(n, last)
    elif kind:
        torch._C._inject_faults(f"{kind}={n}" + ("+" if last > n else ""))


def fresh(make: Callable[[], Program]) -> Program:
    gc.collect()
    inject()
    torch._C._forget_plans()
    torch.mps.empty_cache()
    program = make()
    torch.mps.synchronize()
    return program


def same(a: State, b: State) -> list[str]:
    """Names of what differs."""
    return [
        name
        for name in a | b
        if name not in a or name not in b or not np.array_equal(a[name], b[name], equal_nan=True)
    ]


def is_prefix(now: State, marks: list[State], order: list[list[str]]) -> bool:
    """Whether, between some two marks, the first of `order` have been written and no other."""

    def equal(names: list[str], then: State) -> bool:
        return all(
            np.array_equal(now[n], then[n], equal_nan=True)
            if n in now and n in then
            # What the first step makes: not there, lost, or the zeros that it begins with.
            else n not in then and not now.get(n, np.zeros(1)).any()
            for n in names
        )

    for before, after in zip(marks, marks[1:] + marks[-1:], strict=True):
        done = [equal(names, after) for names in order]
        old = [equal(names, before) for names in order]
        if any(all(done[:c]) and all(old[c:]) for c in range(len(order) + 1)):
            return True
    return False


def run(make: Callable[[], Program], *orders: Any) -> tuple[Program, int, Exception | None, Any]:
    """Runs until something is raised: (program, its step, what, counts)."""
    program = fresh(make)
    inject(*orders)
    raised, i = None, 0
    for i in range(STEPS):
        try:
            program.step(i)
            torch.mps.synchronize()
        except Exception as e:
            raised = e
            break
    counts = torch._C._fault_counts()
    inject()
    return program, i, raised, counts


def check(make: Callable[[], Program], marks: list[State], kind: str, n: int, last: int) -> str:
    """Injects, compares. Says what happened, in a word."""
    program, i, raised, counts = run(make, kind, n, last)
    if not counts["failed"] + counts["refused"]:
        return "none"
    if raised is None:
        wrong = same(program.state(), marks[-1])
        assert not wrong, wrong
        return "unseen"
    wanted = torch.OutOfMemoryError if kind in ("alloc", "block") else torch.mps.MPSDeviceError
    assert isinstance(raised, wanted), repr(raised)
    raised = raised.with_traceback(None)
    gc.collect()
    with contextlib.suppress(RuntimeError):
        torch.mps.synchronize()
    # A device that cannot be waited for at all may have written anything.
    if not (kind == "wait" and last > n):
        assert is_prefix(program.state(), marks, program.order()), "torn"
    saved = program.checkpoint()
    again = make()
    again.load(saved)
    for one in (program, again):
        torch.mps.set_rng_state(saved["rng"])
        for k in range(i, i + 2):
            one.step(k)
        torch.mps.synchronize()
    wrong = same(program.state(), again.state())
    assert not wrong, wrong
    return "raised"


def main() -> None:
    name, stride = sys.argv[1], int(sys.argv[2])
    make = PROGRAMS[name]
    program = fresh(make)
    program.marks = []
    program.mark()
    for i in range(STEPS):
        program.step(i)
    marks = program.marks
    del program
    _, _, raised, counts = run(make, "block", FOREVER, FOREVER)
    assert raised is None, raised
    tally: dict[str, int] = {}
    wrong = []
    for kind, calls in KINDS.items():
        for n in range(1 + len(name) % stride, counts[calls] + 1, stride):
            for last in (n, FOREVER):
                order = f"{kind} {n}{'+' * (last > n)}"
                try:
                    what = check(make, marks, kind, n, last)
                except Exception as e:
                    wrong.append(f"{order}: {type(e).__name__}: {e}")
                    continue
                key = f"{kind}{'+' * (last > n)} {what}"
                tally[key] = tally.get(key, 0) + 1
    assert not wrong, "\n".join(wrong[:20])
    assert any(key.endswith("raised") for key in tally), tally
    gc.collect()
    print("tried", tally)


if __name__ == "__main__":
    main()
