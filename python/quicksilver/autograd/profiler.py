"""torch.autograd.profiler: the older names of torch.profiler."""

from quicksilver.profiler import profile as profile
from quicksilver.profiler import record_function as record_function
