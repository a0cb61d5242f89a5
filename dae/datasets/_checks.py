"""Checks of arrays of images and labels, and the shape of an image in them."""

import math
import warnings
from dataclasses import replace

import numpy as np

from dae.datasets._errors import DataError, DataWarning
from dae.datasets._rows import FileRows, check_pixels

MAX_SIZE = 2**20
"""Bytes of an array of any size that are looked at for contrast."""


def checked_pair(x, y, train, bounded, name):
    """Return (x, y) as a `Dataset` has them; None becomes an array of 0 rows like that of train."""
    train_x, train_y = train
    if x is None:
        x, y = np.asarray(train_x[:0]), None if train_y is None else train_y[:0]
    if x.ndim == 1 or x.shape[1:] != train_x.shape[1:]:
        raise DataError(
            f"{name}: images in an array of shape {x.shape}; expected (images, pixels) or "
            "(images, height, width), with images of the same size in every part"
        )
    x = x.reshape(len(x), math.prod(x.shape[1:]))
    if isinstance(x, FileRows):
        check_pixels(np.empty(0, x.dtype), name)  # the values when they are read
        x = replace(x, bounded=bounded)
    else:
        check_pixels(x, name, bounded)
        x = np.ascontiguousarray(x, x.dtype.newbyteorder("="))
    if y is not None:
        if y.dtype.kind == "f" or y.min(initial=0) < 0 or y.max(initial=0) >= 2**31:
            raise DataError(f"{name}: labels must be integers, 0 and up")
        if y.shape != (len(x),):
            raise DataError(f"{name}: {len(x)} images, but labels of shape {y.shape}")
        y = np.ascontiguousarray(y, np.int32)
    return x, y


def image_shape_of(sides, color, x, path):
    """Return the shape of an image: as given, as in the file, or of a square."""
    n_visible = math.prod(x.shape[1:])
    channels = (3,) if color or (sides is None and x.shape[3:] == (3,)) else ()
    if sides is None and x.ndim > 2:
        sides = x.shape[1:3]
    elif sides is None:
        n_pixels = n_visible // math.prod(channels)
        side = math.isqrt(n_pixels)
        sides = (side, side) if side**2 == n_pixels else (1, n_pixels)
    shape = (*sides, *channels)
    if math.prod(shape) != n_visible:
        raise DataError(f"{path}: images of {n_visible} pixels do not have the shape {shape}")
    return shape


def warn_if_flat(x, path, names):
    """Warn if pixels hardly vary: in many of the images that were files, or in a whole array."""
    if names is None:
        n_some = max(1, min(1000, MAX_SIZE * len(x) // x.nbytes))
        some = np.asarray(x[:: math.ceil(len(x) / n_some)])
        low, high = some.min(keepdims=True)[0], some.max(keepdims=True)[0]
    else:
        low, high = x.min(axis=1), x.max(axis=1)
    full, unit = (256, " of 255") if x.dtype == np.uint8 else (1, "")
    (flat,) = np.nonzero(high - low < full / 8)
    if len(flat) < len(low) / 10:
        return
    values = f"from {low[flat[0]]:g} to {high[flat[0]]:g}{unit}"
    if names is None:
        message = f"its pixels hardly vary (values {values}); expected bytes to 255, or floats to 1"
    else:
        message = (
            f"the pixels of {len(flat)} of {len(x)} images hardly vary ({names[0][flat[0]]} "
            f"has values {values}); see the options autocontrast and, if they are transparent, "
            "background"
        )
    warnings.warn(f"{path}: {message}", DataWarning, stacklevel=3)
