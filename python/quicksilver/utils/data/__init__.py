"""Loading data: datasets, samplers and DataLoader, with PyTorch's names."""

from quicksilver.utils.data.collate import default_collate, default_convert
from quicksilver.utils.data.dataloader import DataLoader
from quicksilver.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from quicksilver.utils.data.distributed import DistributedSampler
from quicksilver.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from quicksilver.utils.data.worker import get_worker_info
