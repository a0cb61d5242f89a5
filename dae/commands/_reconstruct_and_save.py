"""What the command `reconstruct` does with its options: read, compute, draw or write."""

from pathlib import PurePosixPath

import numpy as np

from dae.commands._arrays import Rows, write_npy, write_npz
from dae.commands._console import StoppedError
from dae.commands._model_and_images import (
    check_output,
    check_output_folder,
    compute,
    load_model_and_images,
    written,
    written_folder,
)
from dae.datasets import to_floatX
from dae.reports.tiles import draw_in_rows, enlarge, save_image

N_DRAWN = 10
"""How many images a picture shows, if it is not said."""


def reconstruct_and_save(options, session):
    """Draw the reconstructions of images, or write them as arrays or pictures.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.reconstruct.make_parser`.
    session : Session
        The console.
    """
    output = options.output
    if output.suffix:
        check_output(output, options.force)
    else:
        check_output_folder(output)
    model, images = load_model_and_images(options, session)
    check_noise(model, options)
    if output.suffix == ".png" or options.n_images is not None:
        images = images.first(options.n_images or N_DRAWN)

    def corrupted():
        return compute(
            lambda x, i: model.corrupt(x, options.corruption_level, [options.seed, i]),
            images,
            session,
        )

    def reconstructed():
        return compute(
            lambda x, i: model.reconstruct(x, options.corruption_level, [options.seed, i]),
            images,
            session,
        )

    if output.suffix == ".png":
        x = to_floatX(np.concatenate([np.asarray(x) for x in images.parts]), model.x.dtype)
        rows = [x, np.concatenate(list(corrupted())), np.concatenate(list(reconstructed()))]
        if options.corruption_level == 0:
            del rows[1]
        picture = draw_in_rows(
            *(row.clip(0, 1) for row in rows), img_shape=images.image_shape, n_columns=len(x)
        )
        with written(output, options.force, session) as file:
            save_image(file, enlarge(picture), "png")
    elif output.suffix:
        shape = (images.n_images, *images.image_shape)
        arrays = {"reconstructions": Rows(shape, model.x.dtype, reconstructed())}
        with written(output, options.force, session) as file:
            if output.suffix == ".npy":
                write_npy(file, arrays["reconstructions"])
            else:
                if options.corruption_level:
                    arrays["corrupted"] = Rows(shape, model.x.dtype, corrupted())
                write_npz(file, arrays | images.known())
    else:
        with written_folder(output, session) as folder:
            save_pictures(folder, reconstructed(), picture_names(images), images.image_shape)
    session.say(f"{images.n_images} reconstructions: {output}")


def check_noise(model, options):
    """Refuse a noise that the model does not have.

    Parameters
    ----------
    model : Autoencoder
    options : argparse.Namespace
        See `dae.commands.reconstruct.make_parser`.

    Raises
    ------
    StoppedError
    """
    if options.corruption_level == 0:
        return
    if type(model).__name__ == "Autoencoder":
        raise StoppedError(
            2,
            f"--corruption-level is {options.corruption_level:g}, but the model in {options.run} "
            "has no noise; expected 0",
        )
    try:
        model.corrupt(np.empty((0, model.n_visible)), options.corruption_level)
    except ValueError as error:
        raise StoppedError(2, f"{error}") from error


def picture_names(images):
    """Return names for PNG files: those of the images, else numbers.

    Parameters
    ----------
    images : Images

    Returns
    -------
    list of str
        With "/" between folders.
    """
    if images.names is None:
        n_digits = len(str(images.n_images - 1))
        return [f"{i:0{n_digits}d}.png" for i in range(images.n_images)]
    names = [str(PurePosixPath(name).with_suffix(".png")) for name in images.names.tolist()]
    if len({name.lower() for name in names}) < len(names):  # cat.jpg beside cat.gif
        names = [f"{name}.png" for name in images.names.tolist()]
    return names


def save_pictures(folder, parts, names, image_shape):
    """Write each image into a file of its own.

    Parameters
    ----------
    folder : pathlib.Path
    parts : iterable of ndarray, shape (n, n_visible)
        The images, some at a time, with values in [0, 1] or clipped to it.
    names : list of str
        The files, relative to the folder.
    image_shape : tuple of int
        Height and width of an image in pixels, and 3 if it has colours.
    """
    rest = iter(names)
    for part in parts:
        # The inverse of the division by 256.
        pixels = (part * 256).round().clip(0, 255).astype(np.uint8)
        for image, name in zip(pixels, rest, strict=False):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            save_image(path, image.reshape(image_shape))
