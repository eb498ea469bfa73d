"""torch.backends.opt_einsum: switches that are kept; einsum multiplies from left to right."""

enabled: bool = False
strategy: str | None = None


def is_available() -> bool:
    """False: the package is not used."""
    return False
