"""Trains a small GPT on the characters of a text file and lets it write.

A plain PyTorch loop on the device mps. The last tenth of the text is held out; the network is done
when it predicts that part better than counts of character pairs do (a bigram model fitted to the
same training part, with the smoothing that suits the held-out part best).

    python examples/chargpt.py                         the GNU GPL, as Debian ships it
    python examples/chargpt.py --text my.txt --steps 2000
    python examples/chargpt.py --sample out/chargpt.safetensors    reads the weights and writes more
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

import quicksilver as torch
from quicksilver import nn

LICENCE = Path("/usr/share/common-licenses/GPL-3")
LENGTH = 64  # characters that a prediction may look at
WIDTH, HEADS, LAYERS = 128, 4, 3
BATCH = 32
DROPOUT = 0.2
TEMPERATURE = 0.7
BAR = 40  # characters of the longest bar of the loss curve


class Text(NamedTuple):
    """Characters as numbers: what is trained on and what is held out, and how to read them."""

    alphabet: str
    train: np.ndarray
    held_out: np.ndarray

    def numbers(self, text: str) -> list[int]:
        return [self.alphabet.index(c) for c in text if c in self.alphabet]

    def letters(self, numbers: list[int]) -> str:
        return "".join(self.alphabet[i] for i in numbers)


class Point(NamedTuple):
    """Losses in nats a character after so many steps."""

    step: int
    train: float
    held_out: float


def read(path: Path) -> Text:
    """The file's characters; its last tenth is held out."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if len(text) < 20 * LENGTH:
        raise RuntimeError(f"{path} has {len(text)} characters; at least {20 * LENGTH} are needed")
    alphabet = "".join(sorted(set(text)))
    place = {c: i for i, c in enumerate(alphabet)}
    numbers = np.array([place[c] for c in text], dtype=np.int64)
    cut = len(numbers) * 9 // 10
    return Text(alphabet, numbers[:cut], numbers[cut:])


def bigram_loss(text: Text) -> float:
    """What counts of pairs in the training part make of the held-out part, in nats a character."""
    size = len(text.alphabet)
    counts = np.zeros((size, size))
    np.add.at(counts, (text.train[:-1], text.train[1:]), 1)
    losses = []
    for smoothing in (0.01, 0.03, 0.1, 0.3, 1.0):
        p = (counts + smoothing) / (counts + smoothing).sum(1, keepdims=True)
        losses.append(-np.log(p[text.held_out[:-1], text.held_out[1:]]).mean())
    return float(min(losses))


class Block(nn.Module):
    """Attention and two linear layers, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = (
            part.view(batch, length, HEADS, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        seen = nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=DROPOUT if self.training else 0.0
        )
        x = x + self.drop(self.proj(seen.transpose(1, 2).reshape(batch, length, -1)))
        hidden = nn.functional.gelu(self.up(self.norm2(x)), approximate="tanh")
        return x + self.drop(self.down(hidden))


class GPT(nn.Module):
    """[N, T] characters to [N, T, alphabet]: how likely each is the next one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(size, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.drop = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, size, bias=False)
        nn.init.normal_(self.token.weight, std=0.05)
        nn.init.normal_(self.place.weight, std=0.05)
        self.head.weight = self.token.weight  # one matrix reads and writes characters

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.token(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))
        x = self.drop(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def loss_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    logits = model(x)
    return nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), y.reshape(-1))


def held_out_loss(model: nn.Module, data: torch.Tensor) -> float:
    """Nats a character, each predicted once, in windows one after the other."""
    windows = (len(data) - 1) // LENGTH
    x = data[: windows * LENGTH].view(windows, LENGTH)
    y = data[1 : windows * LENGTH + 1].view(windows, LENGTH)
    model.eval()
    with torch.no_grad():
        loss = loss_of(model, x, y).item()
    model.train()
    return loss


def train(
    model: nn.Module, text: Text, device: str, steps: int, rate: float
) -> tuple[list[Point], float]:
    """Trains and measures some twelve times; also gives steps a second."""
    data, held_out = (torch.from_numpy(part).to(device) for part in (text.train, text.held_out))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=rate / 10)
    window = torch.arange(LENGTH, device=device)
    every = max(1, steps // 12)
    curve, seconds, total, since = [], 0.0, torch.zeros((), device=device), 0
    start = time.perf_counter()
    for step in tqdm(range(1, steps + 1), desc="training", unit="step", leave=False):
        first = torch.randint(0, len(data) - LENGTH - 1, (BATCH, 1), device=device)
        x, y = data[first + window], data[first + window + 1]
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.detach()
        since += 1
        if step % every == 0 or step == steps:
            mean = total.item() / since  # item() waits for the device
            seconds += time.perf_counter() - start
            curve.append(Point(step, mean, held_out_loss(model, held_out)))
            total, since = torch.zeros((), device=device), 0
            start = time.perf_counter()
    return curve, steps / seconds


def write(model: nn.Module, text: Text, device: str, count: int, prompt: str) -> str:
    """`count` characters behind the prompt, drawn one by one."""
    ids = text.numbers(prompt)[-LENGTH:] or [0]
    # A window of one size; what lies before a short prompt is its own repetition.
    ids = (ids * (LENGTH // len(ids) + 1))[-LENGTH:]
    window, drawn = torch.tensor([ids], device=device), []
    model.eval()
    with torch.no_grad():
        for _ in range(count):
            chances = (model(window)[:, -1] / TEMPERATURE).softmax(-1)
            # The place where the running sum passes a uniform number.
            passed = chances.cumsum(-1) < torch.rand(1, 1, device=device)
            chosen = passed.sum(-1, keepdim=True).clamp(max=len(text.alphabet) - 1)
            window = torch.cat([window[:, 1:], chosen], 1)
            drawn.append(chosen)
    return text.letters(torch.cat(drawn, 1)[0].tolist())


def draw(curve: list[Point], bigram: float) -> str:
    """The loss curve as text."""
    worst = max(*(p.held_out for p in curve), bigram)
    lines = [f"{'step':>6} {'train':>7} {'held out':>9}"]
    for p in curve:
        bar = "#" * round(p.held_out / worst * BAR)
        lines.append(f"{p.step:6} {p.train:7.3f} {p.held_out:9.3f}  {bar}")
    lines.append(f"{'pairs':>6} {'':7} {bigram:9.3f}  {'-' * round(bigram / worst * BAR)}")
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> None:
    device = arguments.device
    if device == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError(f"mps is not available: {torch.backends.mps.why_unavailable()}")
    torch.manual_seed(arguments.seed)
    text = read(arguments.text)
    model = GPT(len(text.alphabet))
    prompt = arguments.prompt or text.letters(text.held_out[:LENGTH].tolist())
    if arguments.sample:
        model.load_state_dict(torch.load(arguments.sample))
        print(write(model.to(device), text, device, arguments.count, prompt))
        return
    name = f"mps, driver {torch.backends.mps.get_name()}" if device == "mps" else device
    print(f"device {name}")
    print(
        f"{arguments.text}: {len(text.train)} characters to train on, {len(text.held_out)} held"
        f" out, {len(text.alphabet)} different ones"
    )
    model.to(device)
    numbers = sum(p.numel() for p in model.parameters())
    print(f"GPT of {numbers:,} numbers, {arguments.steps} steps of {BATCH} x {LENGTH} characters")
    curve, speed = train(model, text, device, arguments.steps, arguments.rate)
    bigram, last = bigram_loss(text), curve[-1].held_out
    print(f"\n{draw(curve, bigram)}\n\n{speed:.1f} steps a second")
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights = arguments.out / "chargpt.safetensors"
    torch.save(model.state_dict(), weights)
    print(f"wrote {weights}; it continues {prompt[-30:]!r} like this:\n")
    print(write(model, text, device, arguments.count, prompt))
    print(f"\nheld-out loss {last:.4f} nats a character, pairs of characters {bigram:.4f}")
    if last >= bigram:
        raise RuntimeError("it should be lower than that of pairs: train for more steps")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, default=LICENCE, help=f"file (default {LICENCE})")
    parser.add_argument("--device", default="mps", choices=["mps", "cpu"])
    parser.add_argument("--steps", type=int, default=600, help="of training (default 600)")
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate (default 0.003)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (default 0)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder (default out)")
    parser.add_argument("--sample", type=Path, metavar="FILE", help="weights to write with")
    parser.add_argument("--prompt", default="", help="text to continue")
    parser.add_argument("--count", type=int, default=400, help="characters to write (default 400)")
    arguments = parser.parse_args()
    if arguments.steps < 1 or arguments.count < 1:
        parser.error("--steps and --count must be at least 1")
    try:
        run(arguments)
    except (OSError, RuntimeError) as error:
        text = str(error).strip().splitlines()
        print(f"chargpt: {text[0] if text else type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
