"""Pictures of filters, of reconstructions and of noise."""

import numpy as np


def tile_raster_images(
    X,
    img_shape,
    tile_shape,
    tile_spacing=(0, 0),
    scale_rows_to_unit_interval=True,
    output_pixel_vals=True,
):
    """Lay the rows of a matrix out as images, side by side in a grid.

    Parameters
    ----------
    X : array_like, shape (n, height * width), or tuple of four of them or None
        The images, a row each; what does not fit into the grid is left out, what is missing stays
        black. A tuple holds the channels red, green, blue and alpha, of which a missing one (None)
        is black, or opaque.
    img_shape : (int, int)
        Height and width of an image, in pixels.
    tile_shape : (int, int)
        Rows and columns of the grid.
    tile_spacing : (int, int)
        Pixels between the rows and between the columns.
    scale_rows_to_unit_interval : bool
        Stretch every image to the whole of [0, 1]; else the values must lie there already.
    output_pixel_vals : bool
        Give bytes, 0 to 255; else values in [0, 1].

    Returns
    -------
    numpy.ndarray, shape (rows, columns) in pixels, or (rows, columns, 4) for channels
        uint8, or the floating-point dtype of `X` (float64 for integers).

    Raises
    ------
    ValueError
        If the rows are not images of that shape, or their values not those asked for.
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
        # The small number keeps an image of one colour from a division by zero.
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
    """Draw what every hidden unit looks at: the columns of W.

    Parameters
    ----------
    W : numpy.ndarray, shape (n_visible, n_hidden)
    img_shape : (int, int)
        Height and width of an input, in pixels.

    Returns
    -------
    numpy.ndarray of uint8
        Grey pixels; each filter stretched to the whole range, in a grid about square.
    """
    columns = int(np.ceil(np.sqrt(W.shape[1])))
    rows = -(-W.shape[1] // columns)
    return tile_raster_images(W.T, img_shape, (rows, columns), tile_spacing=(1, 1))


def draw_side_by_side(*images, img_shape, tile_shape=(10, 10)):
    """Draw several grids of images beside each other, such as originals and reconstructions.

    Parameters
    ----------
    *images : numpy.ndarray, shape (n, height * width)
        With values in [0, 1].
    img_shape, tile_shape : (int, int)
        See `tile_raster_images`.

    Returns
    -------
    numpy.ndarray of uint8
        Grey pixels, the grids apart by a white band as wide as half an image.
    """
    grids = [
        tile_raster_images(X, img_shape, tile_shape, (1, 1), scale_rows_to_unit_interval=False)
        for X in images
    ]
    band = np.full((grids[0].shape[0], max(img_shape[1] // 2, 1)), 255, np.uint8)
    return np.hstack([part for grid in grids for part in (band, grid)][1:])


def enlarge(pixels, factor):
    """Make every pixel a square, `factor` pixels wide."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def save_image(path, pixels):
    """Write pixels as a picture, in the format that the name ends in.

    Parameters
    ----------
    path : path-like
    pixels : numpy.ndarray of uint8, shape (height, width) or (height, width, 4)
    """
    from PIL import Image

    Image.fromarray(pixels).save(path)
