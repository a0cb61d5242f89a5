"""Images, filters and reconstructions, tiled into one picture."""

import numpy as np


def tile_raster_images(
    X,
    img_shape,
    tile_shape,
    tile_spacing=(0, 0),
    scale_rows_to_unit_interval=True,
    output_pixel_vals=True,
):
    """Tile the rows of a matrix, each an image, into a grid.

    Parameters
    ----------
    X : array_like, shape (n_images, height * width), or tuple of four such arrays or None
        The images, one per row. Images beyond the last place of the grid are left out, and places
        without an image are black. A tuple holds the channels red, green, blue and alpha; a colour
        that is None is 0 everywhere, an alpha that is None is opaque.
    img_shape : (int, int)
        Height and width of an image, in pixels.
    tile_shape : (int, int)
        Numbers of rows and of columns of the grid.
    tile_spacing : (int, int), default=(0, 0)
        Pixels between rows and between columns of the grid.
    scale_rows_to_unit_interval : bool, default=True
        Whether to scale each image so that its smallest value becomes 0 and its largest 1. If
        False, all values must be in [0, 1].
    output_pixel_vals : bool, default=True
        Whether to return uint8 from 0 to 255. If False, floats in [0, 1].

    Returns
    -------
    ndarray, shape (picture_height, picture_width), or with channels (..., 4)
        The picture, of uint8 or of the floating-point dtype of `X` (float64 if it has integers).

    Raises
    ------
    ValueError
        If the rows are not images of that shape, a tuple does not have four channels, or there
        are values outside [0, 1].
    """
    if isinstance(X, tuple):
        return _tile_channels(
            X, img_shape, tile_shape, tile_spacing, scale_rows_to_unit_interval, output_pixel_vals
        )
    X = np.asarray(X)
    height, width = img_shape
    if X.ndim != 2 or X.shape[1] != height * width:
        raise ValueError(f"X has shape {X.shape}; expected rows of {height}x{width} pixels")
    if not np.issubdtype(X.dtype, np.floating):
        X = X.astype(np.float64)
    X = X[: tile_shape[0] * tile_shape[1]]
    if scale_rows_to_unit_interval:
        # The small number avoids a division by zero where all pixels have the same value.
        low, high = X.min(axis=1, keepdims=True), X.max(axis=1, keepdims=True)
        X = (X - low) * (1 / (high - low + 1e-8))
    if not np.all((X >= 0) & (X <= 1)):
        raise ValueError(
            "X has values outside [0, 1] or not finite; scale them, for instance with "
            "scale_rows_to_unit_interval=True"
        )
    steps = (height + tile_spacing[0], width + tile_spacing[1])
    shape = [step * n - gap for step, n, gap in zip(steps, tile_shape, tile_spacing, strict=True)]
    out = np.zeros(shape, X.dtype)
    for i, image in enumerate(X):
        top, left = np.multiply(divmod(i, tile_shape[1]), steps)
        out[top : top + height, left : left + width] = image.reshape(img_shape)
    return (out * 255).astype(np.uint8) if output_pixel_vals else out


def _tile_channels(X, img_shape, tile_shape, *options):
    given = [channel for channel in X if channel is not None]
    if len(X) != 4 or not given:
        raise ValueError("X is a tuple; expected four channels, red, green, blue and alpha")
    first = tile_raster_images(given[0], img_shape, tile_shape, *options)
    out = np.zeros((*first.shape, 4), first.dtype)
    out[..., 3] = 255 if first.dtype == np.uint8 else 1
    for i, channel in enumerate(X):
        if channel is not None:
            out[..., i] = tile_raster_images(channel, img_shape, tile_shape, *options)
    return out


def draw_filters(W, img_shape):
    """Draw the filters of hidden units, the columns of W, in a grid that is about square.

    Parameters
    ----------
    W : ndarray of float, shape (n_visible, n_hidden)
        The weights.
    img_shape : (int, int)
        Height and width of an input, in pixels; their product is n_visible.

    Returns
    -------
    ndarray of uint8, shape (picture_height, picture_width)
        Grey values; those of each filter are scaled to the whole range.

    Raises
    ------
    ValueError
        If the columns of W are not images of that shape.
    """
    columns = int(np.ceil(np.sqrt(W.shape[1])))
    rows = -(-W.shape[1] // columns)
    return tile_raster_images(W.T, img_shape, (rows, columns), tile_spacing=(1, 1))


def draw_side_by_side(*images, img_shape, tile_shape=(10, 10)):
    """Draw several sets of images as grids side by side, such as inputs and reconstructions.

    Parameters
    ----------
    *images : ndarray of float, shape (n_images, height * width)
        The sets, with values in [0, 1].
    img_shape : (int, int)
        Height and width of an image, in pixels.
    tile_shape : (int, int), default=(10, 10)
        Numbers of rows and of columns of each grid.

    Returns
    -------
    ndarray of uint8, shape (picture_height, picture_width)
        Grey values, with a white band half as wide as an image between the grids.

    Raises
    ------
    ValueError
        If the rows are not images of that shape, or there are values outside [0, 1].
    """
    grids = [
        tile_raster_images(X, img_shape, tile_shape, (1, 1), scale_rows_to_unit_interval=False)
        for X in images
    ]
    band = np.full((grids[0].shape[0], max(img_shape[1] // 2, 1)), 255, np.uint8)
    return np.hstack([part for grid in grids for part in (band, grid)][1:])


def enlarge(pixels, factor):
    """Enlarge a picture by an integer factor: each pixel becomes a square.

    Parameters
    ----------
    pixels : ndarray, shape (height, width, ...)
    factor : int
        Side of the squares, in pixels.

    Returns
    -------
    ndarray, shape (factor * height, factor * width, ...)
        Of the dtype of `pixels`.
    """
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def save_image(path, pixels):
    """Write a picture to a file.

    Parameters
    ----------
    path : path-like
        The file, in the format that its extension says.
    pixels : ndarray of uint8, shape (height, width) or (height, width, 4)
        Grey values, or red, green, blue and alpha.
    """
    from PIL import Image

    Image.fromarray(pixels).save(path)
