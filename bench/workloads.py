"""The workloads of the benches, defined once. `L` is a module with PyTorch's names (torch or
quicksilver), `dev` a device string.

Each `make_*` returns a zero-argument step. Inputs come from NumPy with a fixed seed, so every
library sees the same numbers. A bench synchronises around a fixed number of steps, interleaves the
libraries in one process, and prints medians and ratios.
"""

import numpy as np


def tensor(L, dev, *shape, ints=None, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, ints, shape) if ints else rng.standard_normal(shape).astype(np.float32)
    return L.tensor(a).to(dev)


def make_chain(L, dev, n):
    """The chain: a dozen elementwise ops on two inputs of n elements, one output."""
    x, w = tensor(L, dev, n), tensor(L, dev, n, seed=1)
    return lambda: L.tanh(x * w + 0.5) * L.sigmoid(x) + L.exp(-x * x) * w


def trainer(L, dev, net, data, loss, opt):
    L.manual_seed(0)
    model = net(L).to(dev)
    optimizer = opt(L, model.parameters())
    x, y = data(L, dev)

    def step():
        optimizer.zero_grad()
        value = loss(L, model(x), y)
        value.backward()
        optimizer.step()
        return value

    return step


def cross_entropy(L, out, y):
    return L.nn.functional.cross_entropy(out, y)


def sgd(L, params):
    return L.optim.SGD(params, lr=0.01)


def momentum(L, params):
    return L.optim.SGD(params, lr=0.01, momentum=0.9)


def adamw(L, params):
    return L.optim.AdamW(params, lr=3e-4)


def make_mlp(L, dev, batch=64, opt=sgd):
    def net(L):
        return L.nn.Sequential(L.nn.Linear(784, 256), L.nn.ReLU(), L.nn.Linear(256, 10))

    return trainer(
        L,
        dev,
        net,
        lambda L, d: (tensor(L, d, batch, 784), tensor(L, d, batch, ints=10)),
        cross_entropy,
        opt,
    )


def make_lenet(L, dev, batch=64):
    def net(L):
        n = L.nn
        return n.Sequential(
            n.Conv2d(1, 6, 5, padding=2),
            n.ReLU(),
            n.MaxPool2d(2),
            n.Conv2d(6, 16, 5),
            n.ReLU(),
            n.MaxPool2d(2),
            n.Flatten(),
            n.Linear(400, 120),
            n.ReLU(),
            n.Linear(120, 84),
            n.ReLU(),
            n.Linear(84, 10),
        )

    return trainer(
        L,
        dev,
        net,
        lambda L, d: (tensor(L, d, batch, 1, 28, 28), tensor(L, d, batch, ints=10)),
        cross_entropy,
        momentum,
    )


def make_lstm(L, dev):
    """Word language model: embedding 1000×200, two LSTM layers of 200, decoder; 35 steps of 20."""

    class Net(L.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.out = (
                L.nn.Embedding(1000, 200),
                L.nn.LSTM(200, 200, 2),
                L.nn.Linear(200, 1000),
            )

        def forward(self, x):
            return self.out(self.rnn(self.embed(x))[0]).view(-1, 1000)

    return trainer(
        L,
        dev,
        lambda L: Net(),
        lambda L, d: (tensor(L, d, 35, 20, ints=1000), tensor(L, d, 700, ints=1000)),
        cross_entropy,
        sgd,
    )


def make_dcgan_generator(L, dev, batch=32):
    n = L.nn

    def block(i, o, stride, pad):
        return [n.ConvTranspose2d(i, o, 4, stride, pad, bias=False), n.BatchNorm2d(o), n.ReLU()]

    def net(L):
        return n.Sequential(
            *block(100, 256, 1, 0),
            *block(256, 128, 2, 1),
            *block(128, 64, 2, 1),
            n.ConvTranspose2d(64, 3, 4, 2, 1),
            n.Tanh(),
        )

    return trainer(
        L,
        dev,
        net,
        lambda L, d: (tensor(L, d, batch, 100, 1, 1), tensor(L, d, batch, 3, 32, 32)),
        lambda L, out, y: n.functional.mse_loss(out, y),
        lambda L, p: L.optim.Adam(p, lr=2e-4),
    )


def resnet18(L):
    """ResNet-18 with the CIFAR stem (3×3, stride 1, no pool)."""
    n, F = L.nn, L.nn.functional

    class Block(n.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.c1, self.b1 = n.Conv2d(i, o, 3, stride, 1, bias=False), n.BatchNorm2d(o)
            self.c2, self.b2 = n.Conv2d(o, o, 3, 1, 1, bias=False), n.BatchNorm2d(o)
            self.short = (
                n.Sequential()
                if stride == 1 and i == o
                else n.Sequential(n.Conv2d(i, o, 1, stride, bias=False), n.BatchNorm2d(o))
            )

        def forward(self, x):
            return F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x))))) + self.short(x))

    class Net(n.Module):
        def __init__(self):
            super().__init__()
            layers, i = [n.Conv2d(3, 64, 3, 1, 1, bias=False), n.BatchNorm2d(64), n.ReLU()], 64
            for o, stride in (
                (64, 1),
                (64, 1),
                (128, 2),
                (128, 1),
                (256, 2),
                (256, 1),
                (512, 2),
                (512, 1),
            ):
                layers.append(Block(i, o, stride))
                i = o
            self.body, self.head = n.Sequential(*layers), n.Linear(512, 10)

        def forward(self, x):
            return self.head(self.body(x).mean((2, 3)))

    return Net()


def make_resnet18(L, dev, batch=32):
    return trainer(
        L,
        dev,
        resnet18,
        lambda L, d: (tensor(L, d, batch, 3, 32, 32), tensor(L, d, batch, ints=10)),
        cross_entropy,
        momentum,
    )


def gpt(L, vocab, length, layers, heads, width):
    n, F = L.nn, L.nn.functional

    class Block(n.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.qkv, self.proj = (
                n.LayerNorm(width),
                n.Linear(width, 3 * width),
                n.Linear(width, width),
            )
            self.norm2, self.up, self.down = (
                n.LayerNorm(width),
                n.Linear(width, 4 * width),
                n.Linear(4 * width, width),
            )

        def forward(self, x):
            b, t, _ = x.shape
            q, k, v = (
                u.view(b, t, heads, -1).transpose(1, 2)
                for u in self.qkv(self.norm1(x)).chunk(3, -1)
            )
            a = (
                F.scaled_dot_product_attention(q, k, v, is_causal=True)
                .transpose(1, 2)
                .reshape(b, t, -1)
            )
            x = x + self.proj(a)
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Net(n.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = n.Embedding(vocab, width), n.Embedding(length, width)
            self.blocks = n.ModuleList([Block() for _ in range(layers)])
            self.norm, self.head = n.LayerNorm(width), n.Linear(width, vocab, bias=False)
            self.head.weight = self.token.weight

        def forward(self, ids):
            x = self.token(ids) + self.place(L.arange(ids.shape[1], device=ids.device))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    return Net()


def make_char_gpt(L, dev):
    """0.8 M parameters: vocabulary 96, length 128, 4 layers, 4 heads, width 128; batch 32."""
    return trainer(
        L,
        dev,
        lambda L: gpt(L, 96, 128, 4, 4, 128),
        lambda L, d: (tensor(L, d, 32, 128, ints=96), tensor(L, d, 32 * 128, ints=96)),
        lambda L, out, y: cross_entropy(L, out.view(-1, 96), y),
        adamw,
    )


def make_gpt2_forward(L, dev):
    """GPT-2 124M, batch 1, 64 tokens, next-token argmax, no gradient."""
    model = gpt(L, 50304, 256, 12, 12, 768).to(dev).eval()
    ids = tensor(L, dev, 1, 64, ints=50257)

    def step():
        with L.no_grad():
            return model(ids)[:, -1].argmax(-1)

    return step
