"""A folder of images, read with Pillow."""

import re
import warnings

import numpy as np

from dae.datasets._errors import DataError, as_data_error

# What Pillow warns of when a picture is damaged, or so large that it may be a bomb.
PICTURE_WARNINGS = (UserWarning, RuntimeWarning)


def read_image_folder(folder, image_shape=None):
    """Read every image of a folder as grey values.

    An image is a file whose extension Pillow knows; hidden files, other files and folders inside
    the folder are ignored. The images are sorted by name, numbers in a name compared as numbers:
    ``img2.png`` before ``img10.png``. They are rotated as their EXIF data say; transparent pixels
    become black; of an animation the first frame is read. PostScript, being a program, is refused.

    Parameters
    ----------
    folder : Path
    image_shape : (int, int), optional
        Height and width in pixels that every image is resized to. By default all images must have
        the same size, and keep it.

    Returns
    -------
    ndarray of uint8, shape (n, height, width)

    Raises
    ------
    DataError
        If there is no image, if one is damaged or refused, or if the sizes differ.
    """
    from PIL import Image

    extensions = Image.registered_extensions()
    paths = sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in extensions
            and not path.name.startswith(".")
            and not path.is_dir()
        ),
        key=lambda path: _natural_order(path.name),
    )
    if not paths:
        raise DataError(f"{folder}: holds neither images nor MNIST's four IDX files")
    first = _read_image(paths[0], image_shape)
    images = np.empty((len(paths), *first.shape), np.uint8)
    for i, path in enumerate(paths):
        image = _read_image(path, image_shape)
        if image.shape != first.shape:
            raise DataError(
                f"{path}: {image.shape[0]}x{image.shape[1]} pixels, but {paths[0].name} has "
                f"{first.shape[0]}x{first.shape[1]}; give an image shape to stretch all to"
            )
        images[i] = image
    return images


def _natural_order(name):
    # Splitting at a group puts the numbers at the odd places, so that like meets like.
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name


def _read_image(path, image_shape):
    from PIL import Image, ImageOps

    # Ghostscript would run an EPS file; every other format is mere data.
    formats = [name for name in Image.OPEN if name != "EPS"]
    # Pillow's decoders document no exceptions of their own: a damaged file may raise anything.
    with as_data_error(path, Exception), warnings.catch_warnings():
        for category in PICTURE_WARNINGS:
            warnings.simplefilter("error", category)
        with Image.open(path, formats=formats) as image:
            grey = _grey(ImageOps.exif_transpose(image))
        if image_shape is not None:
            height, width = image_shape
            grey = grey.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(grey)


def _grey(image):
    from PIL import Image

    if image.mode.startswith("I;16"):  # which Pillow would clip at 255, not scale
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("has 32-bit pixels of unknown range; save it with 8 or 16 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return image.convert("L")
