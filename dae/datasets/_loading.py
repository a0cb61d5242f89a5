"""From the name of a data set to its arrays: find the files, read them, check what they hold."""

import math
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dae.datasets._downloads import fetch_mnist
from dae.datasets._errors import DataError, DataWarning, as_data_error
from dae.datasets._idx import read_idx
from dae.datasets._image_folder import PARTS, read_image_folder
from dae.datasets._npy import read_npy, read_npz
from dae.datasets._picture import check_background, picture_extensions, read_picture
from dae.datasets._pkl import read_pickle
from dae.datasets._rows import FileRows, check_pixels

MINI_MNIST = Path(__file__).with_name("data") / "mini_mnist.npz"

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

ARRAY_SUFFIXES = (".npy", ".npz", ".pkl", ".pickle", ".gz")

SOURCES = (
    "mini-mnist, mnist, a .npz, .npy or .pkl.gz file, an image, a folder of images or a folder "
    "with MNIST's four IDX files"
)

MAX_SIZE = 2**20
"""Bytes of an array of any size that are looked at for contrast."""


class Dataset(NamedTuple):
    """Training, validation and test data as NumPy arrays.

    Attributes
    ----------
    train, valid, test : (ndarray, ndarray or None)
        The images ``x``, shape (n, n_visible), uint8 or float, C-contiguous, and their labels
        ``y``, shape (n,), int32, or None if there are none. Of `valid` and `test`, n may be 0.
        Where `read_data` was `lazy`, the ``x`` of `train` may be `FileRows`.
    image_shape : (int, int) or (int, int, 3)
        Height and width of an image in pixels, and for colour images the number of channels; the
        product is n_visible.
    label_names : tuple of str, or None
        The class that each label stands for: in a folder of images the name of its folder.
    names : (tuple of str, tuple of str, tuple of str), or None
        Of a folder of images: the file of each training, validation and test image, relative to
        the folder, with "/" between folders.

    Examples
    --------
    >>> train, valid, test, image_shape, *_ = read_data("mini-mnist")
    >>> x, y = train
    >>> x.shape, y.shape, image_shape
    ((5000, 784), (5000,), (28, 28))
    """

    train: tuple
    valid: tuple
    test: tuple
    image_shape: tuple
    label_names: tuple | None = None
    names: tuple | None = None


def load_data(source="mini-mnist", image_shape=None, cache_dir=None, progress=None, **options):
    """Load a data set as shared variables, as the tutorial's ``load_data`` does.

    Parameters
    ----------
    source : str or Path, default='mini-mnist'
        What to read: see `read_data`.
    image_shape : (int, int), optional
        Height and width of an image in pixels: see `read_data`.
    cache_dir : str or Path, optional
        Where downloads are kept: see `read_data`.
    progress : callable, optional
        Called while files are downloaded or read: see `read_data`.
    **options
        How images in a folder are read: see `read_data`.

    Returns
    -------
    [(train_set_x, train_set_y), (valid_set_x, valid_set_y), (test_set_x, test_set_y)]
        ``x`` is a shared matrix of floatX in [0, 1], shape (n, n_visible); ``y`` is a shared
        vector of int32, shape (n,), or None if there are no labels.

    Raises
    ------
    DataError
        If anything is wrong with the data: no such file, a damaged one, one of the wrong kind.

    Examples
    --------
    >>> train_set, valid_set, test_set = load_data()
    >>> train_set_x, train_set_y = train_set
    >>> train_set_x.get_value(borrow=True).shape
    (5000, 784)
    """
    import pytensor  # here, since its import takes seconds that reading arrays need not

    def shared(array):
        return None if array is None else pytensor.shared(array, borrow=True)

    dataset = read_data(source, image_shape, cache_dir, progress, **options)
    return [
        (shared(to_floatX(x, pytensor.config.floatX)), shared(y))
        for x, y in (dataset.train, dataset.valid, dataset.test)
    ]


def to_floatX(x, dtype):
    """Return pixels as floats in [0, 1].

    Bytes are divided by 256, as in the tutorial's ``mnist.pkl.gz``. Floats keep their values, and
    are not copied if they have the dtype already.

    Parameters
    ----------
    x : ndarray of uint8 or float
        Pixels, of any shape.
    dtype : {'float32', 'float64'}
        The floatX of the graph that they are for.

    Returns
    -------
    ndarray of `dtype`
        Of the shape of `x`, C-contiguous.

    Examples
    --------
    >>> to_floatX(np.array([0, 64, 128], "uint8"), "float32")
    array([0.  , 0.25, 0.5 ], dtype=float32)
    """
    if x.dtype == np.uint8:
        return np.multiply(x, 1 / 256, dtype=dtype, order="C")
    return np.ascontiguousarray(x, dtype)


def read_data(
    source="mini-mnist",
    image_shape=None,
    cache_dir=None,
    progress=None,
    *,
    lazy=False,
    bounded=True,
    color=False,
    crop=False,
    resize=True,
    autocontrast=False,
    background="black",
    skip_bad_images=False,
):
    """Read a data set as NumPy arrays.

    Parameters
    ----------
    source : str or Path, default='mini-mnist'
        What to read:

        - ``mini-mnist``: the tenth of MNIST that comes with this package.
        - ``mnist``: the whole of MNIST, downloaded into the cache when it is not there yet.
        - A folder with MNIST's four IDX files, plain or gzipped.
        - A folder of images in any format that Pillow reads, sorted by name, numbers in a name
          compared as numbers. Hidden files and files with other extensions are ignored.

          If the images lie in folders inside the folder, however deep, each folder of the first
          level is a class: the labels number these folders, sorted as `sorted` does, as
          torchvision's ``ImageFolder`` does. With images beside such folders there are no
          labels, and a warning says so. If the only folders are ``train`` and one or both of
          ``valid`` (or ``val``, ``validation``) and ``test``, they are the three parts of the
          data, with or without classes inside. Otherwise all images are training data.
        - An image in any such format, a data set of one.
        - A ``.pkl`` or ``.pickle`` file, plain or gzipped (``.pkl.gz``): a pickle of three pairs
          of arrays like the tutorial's. No pickle is ever run: the arrays are found by reading
          its opcodes, and whatever is not needed for arrays is refused.
        - A ``.npz`` file with arrays named ``train_x``, ``train_y``, ``valid_x``, ``valid_y``,
          ``test_x``, ``test_y``, or ``x_train`` and so on as in Keras' ``mnist.npz``; all but
          the first may be missing.
        - A ``.npy`` file with one array, all of it training data without labels.

        Arrays of images have the shape (n, n_visible), (n, height, width), or with colours
        (n, height, width, 3), either of uint8 or of floats in [0, 1]; labels are integers of
        shape (n,). If there are arrays of test data but none of validation data, the last sixth
        of the training data becomes validation data: MNIST's 60,000 images become the tutorial's
        50,000 and 10,000.
    image_shape : (int, int) or (int, int, 3), optional
        Height and width of an image in pixels; the third, the number of channels, is as good as
        `color`. Images of a folder are resized to it; otherwise the product must be n_visible. By
        default it is that of the file or, if the images are the rows of a matrix, a square if
        n_visible is one, else (1, n_visible).
    cache_dir : str or Path, optional
        The folder whose subfolder ``mnist`` holds the download. By default the value of the
        environment variable ``DAE_CACHE_DIR`` or, without it, ``dae`` in the platform's folder
        for caches.
    progress : callable, optional
        Called as ``progress(name, done, size)`` while a file is downloaded, with the name of the
        file and two numbers of bytes; `done` starts again at 0 when another mirror is tried. While
        a folder is read, the name is that of an image, and the numbers are of images.
    lazy : bool, default=False
        Whether to leave the images of a ``.npy`` file in the file, as `FileRows`, which are read
        and checked when they are used: `dae.fit` trains on more of them than the memory can
        hold. Files that are gzipped, or in Fortran's order, are read as ever.
    bounded : bool, default=True
        Whether floats must be in [0, 1]; otherwise they may be any but infinity and NaN.
    color : bool, default=False
        Whether images have three channels, red, green and blue, each as n_visible / 3 of the
        visible units: units 0, 1 and 2 are those of the first pixel. By default images in files
        become grey, while arrays have channels if their shape says so.
    crop : bool, default=False
        Whether images in files, before they are resized, are cut to the proportions of
        `image_shape`, the same on both sides; by default they are stretched to it.
    resize : bool, default=True
        Whether images in files may have another size than `image_shape`.
    autocontrast : bool, default=False
        Whether the values of each image in a file are stretched to the whole range, all channels
        alike, so that the darkest becomes 0 and the brightest 255. Then images may have 32 bits.
    background : str, default='black'
        The colour behind the transparent pixels of images in files: a name, or as ``'#ff8800'``.
    skip_bad_images : bool, default=False
        Whether to leave out files that cannot be read as images, with a warning that names each.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If anything is wrong with the data: no such file, a damaged one, one of the wrong kind.

    Warns
    -----
    DataWarning
        If not all of a folder is read as its owner may expect, or if pixels hardly vary, less than
        an eighth of their range: those of an array, or of a tenth of the images in files.

    Notes
    -----
    Images in files are rotated as their EXIF data say. Of 16 bits the upper 8 are kept, so what
    has 12 bits needs `autocontrast`; a black drawing on a transparent ground needs a `background`.

    Examples
    --------
    >>> dataset = read_data("mini-mnist")
    >>> x, y = dataset.test
    >>> x.shape, x.dtype, y[:5]
    ((1000, 784), dtype('uint8'), array([7, 2, 1, 0, 4], dtype=int32))
    """
    if source == "mini-mnist":
        path = MINI_MNIST
    elif source == "mnist":
        path = fetch_mnist(cache_dir, progress)
    else:
        path = Path(source)
    sides = None
    if image_shape is not None:
        sides, color = tuple(image_shape[:2]), color or tuple(image_shape[2:]) == (3,)
    names = label_names = None
    with as_data_error(path, (MemoryError, OSError)):
        if _holds_image_files(path):
            check_background(background)
            if crop and sides is None:
                raise DataError(f"{path}: the option crop needs an image shape, such as 28x28")
            read = partial(
                read_picture,
                sides=sides if resize else None,
                color=color,
                background=background,
                autocontrast=autocontrast,
                crop=crop,
            )
            pairs, names, label_names = read_image_folder(
                path, read, sides, skip_bad_images, progress
            )
        else:
            pairs = _read_pairs(path, lazy)
        train, valid, test = (
            _checked_pair(x, y, pairs[0], bounded, f"{path}, {part}")
            for part, (x, y) in zip(PARTS, pairs, strict=True)
        )
    if names is None and len(valid[0]) == 0 < len(test[0]):
        train, valid = _split_valid(*train)
    if len(train[0]) == 0:
        raise DataError(f"{path}: has no training images")
    image_shape = _image_shape(sides, color, pairs[0][0], path)
    if bounded:
        _warn_if_flat(train[0], path, names)
    return Dataset(train, valid, test, image_shape, label_names, names)


def _holds_image_files(path):
    """Return whether this is a folder of images, or an image, rather than arrays."""
    if path.is_dir():
        return not any(_find_idx(path, name) for name in IDX_FILES)
    suffix = path.suffix.lower()
    # Pillow is not loaded for arrays.
    return path.is_file() and suffix not in ARRAY_SUFFIXES and suffix in picture_extensions()


def _read_pairs(path, lazy):
    """Return (x, y) of train, valid and test as they are in the file, None for what it lacks."""
    nothing = (None, None)
    if path.is_dir():
        idx_paths = [_find_idx(path, name) for name in IDX_FILES]
        if None in idx_paths:
            missing = IDX_FILES[idx_paths.index(None)]
            raise DataError(f"{path}: has no {missing}, plain or gzipped, beside the other files")
        train_x, train_y, test_x, test_y = map(read_idx, idx_paths)
        return (train_x, train_y), nothing, (test_x, test_y)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; expected {SOURCES}")
    name = path.name.lower()
    if name.endswith(".npy"):
        return (read_npy(path, lazy), None), nothing, nothing
    if name.endswith(".npz"):
        return _named_pairs(read_npz(path), path)
    if name.endswith((".pkl", ".pickle", ".pkl.gz", ".pickle.gz")):
        return read_pickle(path)
    raise DataError(f"{path}: unknown kind of file; expected {SOURCES}")


def _find_idx(folder, name):
    """Return the path of one of MNIST's files under one of its usual names, or None."""
    dotted = name.replace("-idx", ".idx")
    for spelling in (f"{name}.gz", name, f"{dotted}.gz", dotted):
        if (folder / spelling).is_file():
            return folder / spelling
    return None


def _named_pairs(arrays, path):
    """Return (x, y) of train, valid and test from the arrays of an npz file."""
    names = ", ".join(arrays)
    pairs = []
    for part in PARTS:
        x_name, y_name = f"{part}_x", f"{part}_y"
        if x_name not in arrays:
            x_name, y_name = f"x_{part}", f"y_{part}"
        x = arrays.pop(x_name, None)
        pairs.append((x, None if x is None else arrays.pop(y_name, None)))
    if arrays or pairs[0][0] is None:
        raise DataError(
            f"{path}: holds arrays named {names[:100]!r}; expected train_x and, as there are, "
            "train_y, valid_x, valid_y, test_x, test_y, or x_train, y_train and so on"
        )
    return pairs


def _checked_pair(x, y, train, bounded, name):
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


def _split_valid(x, y):
    """Split the last sixth off the training data, for validation."""
    cut = len(x) - len(x) // 6
    if y is None:
        return (x[:cut], None), (x[cut:], None)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def _image_shape(sides, color, x, path):
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


def _warn_if_flat(x, path, names):
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
