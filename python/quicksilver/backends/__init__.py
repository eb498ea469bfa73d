"""What the library was built with and can use here."""

from quicksilver.backends import cuda, cudnn, mkl, mkldnn, mps, openmp, opt_einsum
