"""Arrays in files: which of a folder or a file hold images and labels, in whatever format."""

from dae.datasets._errors import DataError
from dae.datasets._idx import read_idx
from dae.datasets._image_folder import PARTS
from dae.datasets._npy import read_npy, read_npz
from dae.datasets._picture import picture_extensions
from dae.datasets._pkl import read_pickle

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


def holds_image_files(path):
    """Return whether this is a folder of images, or an image, rather than arrays."""
    if path.is_dir():
        return not any(_find_idx(path, name) for name in IDX_FILES)
    suffix = path.suffix.lower()
    # Pillow is not loaded for arrays.
    return path.is_file() and suffix not in ARRAY_SUFFIXES and suffix in picture_extensions()


def read_pairs(path, lazy):
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
