"""torch.distributions: densities, moments, divergences and errors; draws are not compared."""

from __future__ import annotations

from typing import Any

from . import outcome


def values(x: Any) -> Any:
    return [list(x.shape), x.detach().double().flatten().tolist()]


def table(L: Any) -> dict[str, tuple[Any, list[Any]]]:
    """Each distribution with values that it takes."""
    D, t = L.distributions, L.tensor
    loc, scale, pos = t([0.5, -1.0, 2.0]), t([0.3, 1.0, 2.5]), t([0.2, 1.0, 3.5])
    p, z = t([0.1, 0.5, 0.9]), t([-1.0, 0.3, 2.0])
    rows = t([[0.2, 0.5, 0.3], [3.0, 1.0, 1.0]])
    matrix = t([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.7]])
    real, unit, count = t([0.4, -2.0, 1.5]), t([0.2, 0.5, 0.7]), t([0.0, 1.0, 4.0])
    return {
        "normal": (D.Normal(loc, scale), [real]),
        "normal number": (D.Normal(0.0, 2.0), [real]),
        "laplace": (D.Laplace(loc, scale), [real]),
        "cauchy": (D.Cauchy(loc, scale), [real]),
        "gumbel": (D.Gumbel(loc, scale), [real]),
        "lognormal": (D.LogNormal(loc, scale), [pos]),
        "halfnormal": (D.HalfNormal(scale), [pos]),
        "exponential": (D.Exponential(pos), [pos]),
        "uniform": (D.Uniform(loc - 3, loc + 4), [t([0.4, -2.0, 1.5])]),
        "gamma": (D.Gamma(pos, scale), [pos]),
        "chi2": (D.Chi2(pos), [pos]),
        "beta": (D.Beta(pos, scale), [unit]),
        "dirichlet": (D.Dirichlet(rows), [t([0.2, 0.5, 0.3])]),
        "studentt": (D.StudentT(pos + 1.5, loc, scale), [real]),
        "bernoulli": (D.Bernoulli(p), [t([0.0, 1.0, 1.0])]),
        "bernoulli logits": (D.Bernoulli(logits=z), [t([0.0, 1.0, 1.0])]),
        "geometric": (D.Geometric(p), [count]),
        "binomial": (D.Binomial(5, p), [count]),
        "binomial logits": (D.Binomial(5, logits=z), [count]),
        "poisson": (D.Poisson(pos), [count]),
        "categorical": (D.Categorical(rows), [t([0, 2]), t([[1], [2]])]),
        "categorical logits": (D.Categorical(logits=rows), [t([0, 2])]),
        "one hot": (D.OneHotCategorical(rows), [t([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])]),
        "multinomial": (D.Multinomial(4, rows), [t([[1.0, 2.0, 1.0], [0.0, 4.0, 0.0]])]),
        "relaxed": (D.RelaxedBernoulli(t(0.7), p), [unit]),
        "multivariate": (D.MultivariateNormal(loc, matrix), [real]),
        "multivariate precision": (D.MultivariateNormal(loc, precision_matrix=matrix), [real]),
        "multivariate factor": (
            D.MultivariateNormal(t([[0.0] * 3, [1.0] * 3]), scale_tril=matrix.tril()),
            [real],
        ),
        "independent": (D.Independent(D.Normal(loc, scale), 1), [real]),
        "mixture": (
            D.MixtureSameFamily(D.Categorical(t([0.3, 0.2, 0.5])), D.Normal(loc, scale)),
            [real],
        ),
        "tanh normal": (D.TransformedDistribution(D.Normal(loc, scale), TANH(L)), [unit]),
        "scaled": (
            D.TransformedDistribution(
                D.Uniform(0.0, 1.0),
                [D.SigmoidTransform().inv, D.AffineTransform(loc=1.0, scale=-2.0)],
            ),
            [t([0.4, 3.0])],
        ),
    }


def TANH(L: Any) -> Any:
    return [L.distributions.TanhTransform(cache_size=1), L.distributions.AffineTransform(0.5, 1.5)]


def case_densities(L: Any) -> Any:
    return {name: [values(d.log_prob(x)) for x in inputs] for name, (d, inputs) in table(L).items()}


def case_functions(L: Any) -> Any:
    """Moments, entropies, distribution functions: what there is of them."""
    names = ("mean", "mode", "variance", "stddev")
    result = {}
    for name, (d, inputs) in table(L).items():
        got = {n: outcome(lambda n=n, d=d: values(getattr(d, n))) for n in names}
        got["entropy"] = outcome(lambda d=d: values(d.entropy()))
        got["cdf"] = outcome(lambda d=d, x=inputs[0]: values(d.cdf(x)))
        unit = L.tensor([0.2, 0.5, 0.7])[: inputs[0].shape[-1] if inputs[0].dim() else None]
        got["icdf"] = outcome(lambda d=d, x=unit: values(d.icdf(x)))
        result[name] = {k: v if isinstance(v, list) else v["error"] for k, v in got.items()}
    return result


def case_shapes(L: Any) -> Any:
    result = {}
    for name, (d, _) in table(L).items():
        result[name] = [
            list(d.batch_shape), list(d.event_shape), list(d.sample().shape),
            list(d.sample((2, 4)).shape), d.has_rsample, d.has_enumerate_support,
            list(d.expand((2, *d.batch_shape)).batch_shape),
            list(d.expand((2, *d.batch_shape)).sample((4,)).shape),
            outcome(lambda d=d: values(d.enumerate_support())) if d.has_enumerate_support else 0,
        ]  # fmt: skip
    return result


def case_texts(L: Any) -> Any:
    return {name: repr(d) for name, (d, _) in table(L).items()}


def case_gradients(L: Any) -> Any:
    """Of log_prob and entropy with respect to the parameters."""
    D = L.distributions

    def grads(make: Any, x: Any, *parameters: Any) -> Any:
        leaves = [L.tensor(p, requires_grad=True) for p in parameters]
        d = make(*leaves)
        (d.log_prob(L.tensor(x)).sum() + 0.5 * d.entropy().sum()).backward()
        return [values(leaf.grad) for leaf in leaves]

    return [
        grads(D.Normal, [0.3, 1.0], [0.0, 0.5], [1.0, 2.0]),
        grads(D.Gamma, [0.3, 1.0], [0.7, 2.5], [1.0, 2.0]),
        grads(D.Beta, [0.3, 0.8], [0.7, 2.5], [1.0, 2.0]),
        grads(D.Categorical, [0, 2], [[0.2, 0.5, 0.3], [1.0, 1.0, 2.0]]),
        grads(lambda z: D.Categorical(logits=z), [0, 2], [[0.2, 0.5, 0.3], [1.0, 1.0, 2.0]]),
        grads(lambda z: D.Bernoulli(logits=z), [0.0, 1.0], [0.2, 0.5]),
        grads(D.MultivariateNormal, [0.3, 1.0], [0.0, 0.5], [[1.0, 0.2], [0.2, 2.0]]),
        grads(D.StudentT, [0.3, 1.0], [3.0, 4.5], [1.0, 2.0], [1.0, 2.0]),
    ]


def case_divergences(L: Any) -> Any:
    D, t = L.distributions, L.tensor
    a, b = t([0.3, 1.0, 2.5]), t([1.2, 0.7, 0.4])
    p, q = t([0.1, 0.5, 0.9]), t([0.3, 0.2, 0.8])
    m = t([[2.0, 0.3], [0.3, 1.0]])
    pairs = {
        "normal": (D.Normal(a, b), D.Normal(b, a)),
        "lognormal": (D.LogNormal(a, b), D.LogNormal(b, a)),
        "laplace": (D.Laplace(a, b), D.Laplace(b, a)),
        "exponential": (D.Exponential(a), D.Exponential(b)),
        "uniform": (D.Uniform(a, a + 1), D.Uniform(a - p, a + 1.5)),
        "uniform outside": (D.Uniform(a, a + 1), D.Uniform(a, a + p)),
        "gamma": (D.Gamma(a, b), D.Gamma(b, a)),
        "beta": (D.Beta(a, b), D.Beta(b, a)),
        "dirichlet": (D.Dirichlet(a), D.Dirichlet(b)),
        "bernoulli": (D.Bernoulli(p), D.Bernoulli(q)),
        "bernoulli edges": (D.Bernoulli(t([0.0, 1.0, 0.5])), D.Bernoulli(t([0.5, 0.0, 0.5]))),
        "binomial": (D.Binomial(4, p), D.Binomial(L.tensor([4, 3, 4]), q)),
        "geometric": (D.Geometric(p), D.Geometric(q)),
        "poisson": (D.Poisson(a), D.Poisson(b)),
        "categorical": (D.Categorical(p), D.Categorical(q)),
        "categorical zero": (D.Categorical(t([0.5, 0.0, 0.5])), D.Categorical(t([0.5, 0.5, 0.0]))),
        "one hot": (D.OneHotCategorical(p), D.OneHotCategorical(q)),
        "multivariate": (D.MultivariateNormal(a[:2], m), D.MultivariateNormal(b[:2], m @ m)),
        "independent": (D.Independent(D.Normal(a, b), 1), D.Independent(D.Normal(b, a), 1)),
    }
    result = {k: values(D.kl_divergence(*pair)) for k, pair in pairs.items()}
    result["counts"] = outcome(lambda: D.kl_divergence(D.Binomial(4, p), D.Binomial(5, q)))
    result["none"] = outcome(lambda: D.kl_divergence(D.Categorical(p), D.Normal(a, b)))
    return result


def case_errors(L: Any) -> Any:
    D, t = L.distributions, L.tensor
    bad = [
        lambda: D.Normal(t([0.0]), t([-1.0])),
        lambda: D.Normal(t(float("nan")), 1.0),
        lambda: D.Normal("a", 1.0),
        lambda: D.Normal(0.0, 1.0).log_prob(1.0),
        lambda: D.Normal(t([0.0, 1.0]), 1.0).log_prob(t([1.0, 2.0, 3.0])),
        lambda: D.Exponential(1.0).log_prob(t(-1.0)),
        lambda: D.Categorical(),
        lambda: D.Categorical(t([0.5]), t([0.5])),
        lambda: D.Categorical(t(1.0)),
        lambda: D.Categorical(t([0.5, -0.1])),
        lambda: D.Categorical(t([0.5, 0.5])).log_prob(t(2)),
        lambda: D.Categorical(t([0.5, 0.5])).log_prob(t(0.5)),
        lambda: D.Bernoulli(t([1.5])),
        lambda: D.Bernoulli(t([0.5])).log_prob(t([0.5])),
        lambda: D.Uniform(1.0, 0.0),
        lambda: D.Uniform(0.0, 1.0).log_prob(t(2.0)),
        lambda: D.Dirichlet(t(1.0)),
        lambda: D.Dirichlet(t([1.0, 1.0])).log_prob(t([0.4, 0.4])),
        lambda: D.MultivariateNormal(t(0.0), t([[1.0]])),
        lambda: D.MultivariateNormal(t([0.0]), t([[1.0]]), t([[1.0]])),
        lambda: D.MultivariateNormal(t([0.0, 0.0]), t([[1.0, 2.0], [2.0, 1.0]])),
        lambda: D.Independent(D.Normal(0.0, 1.0), 1),
        lambda: D.Bernoulli(0.5).rsample(),
        lambda: D.Normal(0.0, -1.0, validate_args=False).stddev.item(),
    ]
    kinds = [outcome(lambda f=f: str(f() is None)) for f in bad]
    return [k if not isinstance(k, dict) else [k["error"], k["text"]] for k in kinds]
