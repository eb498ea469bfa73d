"""Named tuples that functions written in Python return, as torch.return_types has them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

_FIELDS = {
    "frexp": "mantissa exponent",
    "median": "values indices",
    "nanmedian": "values indices",
    "mode": "values indices",
    "histogram": "hist bin_edges",
    "histogramdd": "hist bin_edges",
    "slogdet": "sign logabsdet",
    "linalg_slogdet": "sign logabsdet",
    "qr": "Q R",
    "linalg_qr": "Q R",
    "svd": "U S V",
    "linalg_svd": "U S Vh",
    "linalg_eigh": "eigenvalues eigenvectors",
    "linalg_eig": "eigenvalues eigenvectors",
    "linalg_lstsq": "solution residuals rank singular_values",
    "linalg_cholesky_ex": "L info",
    "linalg_inv_ex": "inverse info",
    "linalg_solve_ex": "result info",
    "linalg_lu": "P L U",
    "linalg_lu_factor": "LU pivots",
    "linalg_lu_factor_ex": "LU pivots info",
    "lu_unpack": "P L U",
    "triangular_solve": "solution cloned_coefficient",
}


def _make(name: str, fields: str) -> Any:
    base = namedtuple(name, fields.split(), rename=False)

    def __new__(cls: Any, values: Any) -> Any:
        return tuple.__new__(cls, values)

    made = type(name, (base,), {"__new__": __new__, "__slots__": ()})
    made.__module__ = "torch.return_types"
    return made


globals().update({name: _make(name, fields) for name, fields in _FIELDS.items()})
