"""One picture, read with Pillow."""

import warnings

import numpy as np

from dae.datasets._errors import DataError, as_data_error

# What Pillow warns of when a picture is damaged, or so large that it may be a bomb.
PICTURE_WARNINGS = (UserWarning, RuntimeWarning)


def picture_extensions():
    """Return the extensions of the files that Pillow reads.

    Returns
    -------
    set of str
        In lower case, such as ``".png"``.
    """
    from PIL import Image

    known = Image.registered_extensions()  # also of what it only writes, such as PDF
    return {extension for extension, name in known.items() if name in Image.OPEN}


def check_background(background):
    """Check that a background is a colour.

    Parameters
    ----------
    background : str

    Raises
    ------
    DataError
        If it is none.
    """
    from PIL import ImageColor

    try:
        is_colour = isinstance(background, str) and len(ImageColor.getrgb(background)) == 3
    except ValueError:
        is_colour = False
    if not is_colour:
        raise DataError(
            f"background is {background!r}; expected a colour, such as white, black or '#ff8800'"
        )


def read_picture(
    path,
    sides=None,
    *,
    color=False,
    background="black",
    autocontrast=False,
    crop=False,
):
    """Read a picture as bytes.

    It is rotated as its EXIF data say; of 16 bits the upper 8 are kept; of an animation the first
    frame is read. PostScript, being a program, is refused.

    Parameters
    ----------
    path : Path
    sides : (int, int), optional
        Height and width in pixels of what is returned; by default those of the picture.
    color : bool, default=False
        Whether to return red, green and blue, and not grey.
    background : str, default='black'
        The colour behind transparent pixels.
    autocontrast : bool, default=False
        Whether to stretch the values to the whole range, all channels alike: the smallest becomes
        0 and the largest 255, unless they are equal. Then pixels may have 32 bits, too.
    crop : bool, default=False
        Whether to cut off what is too wide or too high for `sides`, left and right alike, or above
        and below; without it the picture is stretched.

    Returns
    -------
    ndarray of uint8, shape (height, width) or (height, width, 3)

    Raises
    ------
    DataError
        If it is damaged or refused.
    """
    from PIL import Image, ImageOps

    # Ghostscript would run an EPS file; every other format is mere data.
    formats = [name for name in Image.OPEN if name != "EPS"]
    # Pillow's decoders document no exceptions of their own: a damaged file may raise anything.
    with as_data_error(path, Exception), warnings.catch_warnings():
        for category in PICTURE_WARNINGS:
            warnings.simplefilter("error", category)
        with Image.open(path, formats=formats) as image:
            image = _with_bytes(ImageOps.exif_transpose(image), color, background, autocontrast)
        if sides is not None:
            size = (sides[1], sides[0])
            change = ImageOps.fit if crop else Image.Image.resize
            image = change(image, size, Image.Resampling.BICUBIC)
        pixels = np.asarray(image)
        # A second time, since resizing takes means.
        return _stretched(pixels) if autocontrast else pixels


def _with_bytes(image, color, background, autocontrast):
    """Return a picture in grey, or in red, green and blue, with 8 bits."""
    from PIL import Image

    if image.mode in ("I", "F") and not autocontrast:
        raise ValueError("has 32-bit pixels of unknown range; save it with 8 or 16 bits")
    if image.mode[0] in "IF":  # Pillow would clip at 255, not scale
        pixels = np.asarray(image)
        image = Image.fromarray(
            _stretched(pixels) if autocontrast else (pixels >> 8).astype(np.uint8)
        )
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    image = image.convert("RGB" if color else "L")
    return Image.fromarray(_stretched(np.asarray(image))) if autocontrast else image


def _stretched(pixels):
    """Return numbers as bytes, the smallest as 0 and the largest as 255."""
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(high - low):
        raise ValueError("has pixels that are infinite or NaN")
    if low == high:
        upper = pixels >> 8 if pixels.dtype.itemsize == 2 else pixels
        return upper.clip(0, 255).astype(np.uint8)
    stretched = pixels.astype(np.float32)
    stretched -= low
    stretched *= 255 / (high - low)
    return np.rint(stretched, out=stretched).astype(np.uint8)
