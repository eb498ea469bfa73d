"""torch.storage: the memory that tensors look at."""

from quicksilver._functions_tensor import TypedStorage as TypedStorage
from quicksilver._functions_tensor import UntypedStorage as UntypedStorage
