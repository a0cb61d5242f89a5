"""Data sets: bytes on disk become NumPy arrays, and those become shared variables."""

from dae.datasets._errors import DataError, DataWarning
from dae.datasets._loading import MINI_MNIST, PARTS, Dataset, load_data, read_data, to_floatX

__all__ = [
    "MINI_MNIST",
    "PARTS",
    "DataError",
    "DataWarning",
    "Dataset",
    "load_data",
    "read_data",
    "to_floatX",
]
