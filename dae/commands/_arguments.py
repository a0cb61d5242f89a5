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


def add_setting(group, name, help, type, metavar=None, kind=Config, nargs=None):
    """Add the option of a setting; if it is not given, it is absent from what is parsed.

    Parameters
    ----------
    group : argparse.ArgumentParser or a group of one
    name : str
        The setting.
    help : str
        Without the default.
    type : callable
    metavar : str, optional
    kind : type, default=Config
        The class of the settings.
    nargs : str, optional
        Such as "+", for a list.
    """
    default = getattr(kind, name)
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    group.add_argument(
        f"--{name.replace('_', '-')}",
        help=f"{help} (default: {default})",
        type=type,
        metavar=metavar,
        nargs=nargs,
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
        "of images, or of the four MNIST files; or an .npz, .npy or .pkl.gz file",
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
        "--cache-dir",
        help="where downloads are kept (default: DAE_CACHE_DIR, or the platform's cache folder)",
        metavar="DIR",
    )


def add_floatX_option(group):
    """Add the option that says in which arithmetic to train.

    Parameters
    ----------
    group : argparse.ArgumentParser or a group of one
    """
    group.add_argument(
        "--floatX",
        help=f"arithmetic (default: {Config.floatX})",
        choices=["float64", "float32"],
        default=argparse.SUPPRESS,
    )


def add_output_options(parser, report_every):
    """Add the options that say what to write and to print, and where.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    report_every : int
        The default number of epochs between reports.

    Returns
    -------
    group
        For options that a command has of its own.
    """
    output = parser.add_argument_group("output")
    where = output.add_mutually_exclusive_group()
    where.add_argument(
        "--output-dir",
        metavar="DIR",
        help="a new or empty directory (default: one under runs/, named after the time)",
    )
    where.add_argument(
        "--resume",
        metavar="DIR",
        help="go on with the run in this directory, with its settings; --training-epochs may be "
        "larger, and --data say where the same data lies now",
    )
    output.add_argument(
        "--checkpoint-every",
        type=positive_int,
        metavar="N",
        help="epochs between checkpoints (default: one a minute, also within an epoch)",
    )
    output.add_argument(
        "--report-every",
        type=positive_int,
        metavar="N",
        default=report_every,
        help=f"epochs between reports (default: {report_every})",
    )
    output.add_argument("--quiet", action="store_true", help="print errors only")
    return output
