"""How a command reads its arguments."""

import argparse
import re

from dae.commands._console import complain
from dae.training.config import POSITIVE, Config


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        """Exit with status 2."""
        complain(self.prog, f"{message} (see --help)")
        self.exit(2)


def number(kind, expected, is_valid):
    """Return the type of an option: a number that satisfies a condition.

    Parameters
    ----------
    kind : {int, float}
    expected, is_valid : str, callable
        Such as `dae.training.config.VALID` holds for a setting.

    Returns
    -------
    callable
        From the text to the number; it raises `argparse.ArgumentTypeError`.
    """

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not is_valid(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return parse


positive_int = number(int, *POSITIVE)


def image_shape(text):
    """Parse the height and width of an image, such as 28x28."""
    match = re.fullmatch(r"([1-9]\d{0,6})x([1-9]\d{0,6})", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH in pixels, such as 28x28")
    return [int(side) for side in match.groups()]


def add_setting(group, name, help, type, metavar=None):
    """Add the option of a setting; if it is not given, it is absent from what is parsed.

    Parameters
    ----------
    group : argparse.ArgumentParser or a group of one
    name : str
        The setting of `Config`.
    help : str
        Without the default.
    type : callable
    metavar : str, optional
    """
    group.add_argument(
        f"--{name.replace('_', '-')}",
        help=f"{help} (default: {getattr(Config, name)})",
        type=type,
        metavar=metavar,
        default=argparse.SUPPRESS,
    )


def add_data_options(parser):
    """Add the options that say what to train on.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    data = parser.add_argument_group("data")
    add_setting(
        data,
        "data",
        "mini-mnist, the bundled tenth of MNIST; mnist, the whole of it, downloaded once; a folder "
        "of images, which may have folders for classes inside, or of the four MNIST files; or an "
        ".npz, .npy or .pkl.gz file",
        str,
        "mini-mnist|mnist|PATH",
    )
    data.add_argument(
        "--image-shape",
        help="height and width in pixels: images in a folder are resized to it; elsewhere it says "
        "how the pixels lie (default: what the data says)",
        type=image_shape,
        metavar="HxW",
        default=argparse.SUPPRESS,
    )
    data.add_argument(
        "--color",
        help="keep red, green and blue, each a visible unit of its own (default: images in a "
        "folder become grey)",
        action="store_true",
        default=argparse.SUPPRESS,
    )
    data.add_argument(
        "--cache-dir",
        help="where downloads are kept (default: DAE_CACHE_DIR, or the platform's cache folder)",
        metavar="DIR",
    )
    add_image_options(parser)


def add_image_options(parser):
    """Add the options that say how files of images are read.

    Those that are not given are absent from what is parsed.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    images = parser.add_argument_group("images in a folder")

    def add_flag(name, help):
        images.add_argument(name, help=help, action="store_true", default=argparse.SUPPRESS)

    add_flag("--crop", "cut them to the proportions of the image shape (default: stretch them)")
    add_flag(
        "--autocontrast",
        "stretch the values of each to the whole range, such as those with 12 bits kept in 16",
    )
    add_setting(
        images, "background", "colour behind transparent pixels, such as white or '#ff8800'", str,
        "COLOUR",
    )  # fmt: skip
    add_flag("--skip-bad-images", "name those that cannot be read, and leave them out")
