"""Make the bundled mini MNIST: ``python -m dae.make_mini_mnist FOLDER mini_mnist.npz``."""

import argparse

import numpy as np

from dae.datasets import PARTS, DataError, read_data


def main(argv=None):
    """Write the first tenth of each part of an MNIST to an npz file."""
    parser = argparse.ArgumentParser(prog="python -m dae.make_mini_mnist", description=main.__doc__)
    parser.add_argument("folder", help="where MNIST's four IDX files are")
    parser.add_argument("output", help="the npz file to write")
    arguments = parser.parse_args(argv)
    try:
        mnist = read_data(arguments.folder)
    except DataError as error:
        parser.error(str(error))
    arrays = {}
    for part in PARTS:
        x, y = getattr(mnist, part)
        tenth = len(x) // 10
        arrays[f"{part}_x"] = x[:tenth].reshape(tenth, *mnist.image_shape)
        arrays[f"{part}_y"] = y[:tenth].astype(np.uint8)
    # NumPy dates every member 1980-01-01, so the same input gives the same bytes.
    np.savez_compressed(arguments.output, **arrays)
