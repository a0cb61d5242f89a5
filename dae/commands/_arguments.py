"""How a command reads its arguments."""

import argparse
import re
from pathlib import Path

import dae
from dae.commands._console import complain
from dae.training.config import Config
from dae.training.settings import POSITIVE, VALID

PARTS = ("train", "valid", "test")
"""As `dae.datasets.PARTS`, without importing NumPy."""


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
        Such as `dae.training.settings.VALID` holds for a setting.

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
    group : argparse.ArgumentParser or argument group
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
        "--validation-fraction",
        help="part of the images to judge by and not to train on, of data that does not say which "
        "(default: none)",
        type=number(float, *VALID["validation_fraction"]),
        metavar="F",
        default=argparse.SUPPRESS,
    )
    add_cache_dir_option(data)
    add_image_options(parser)


def add_cache_dir_option(group):
    """Add the option that says where downloads are kept.

    Parameters
    ----------
    group : argparse.ArgumentParser or argument group
    """
    group.add_argument(
        "--cache-dir",
        help="where downloads are kept (default: DAE_CACHE_DIR, or the platform's cache folder)",
        metavar="DIR",
    )


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


def add_floatX_option(group, nargs=None):
    """Add the option that says in which arithmetic to train.

    Parameters
    ----------
    group : argparse.ArgumentParser or argument group
    nargs : str, optional
        Such as "+", for a list.
    """
    group.add_argument(
        "--floatX",
        help=f"arithmetic (default: {Config.floatX})",
        choices=["float64", "float32"],
        nargs=nargs,
        default=argparse.SUPPRESS,
    )


def yes_or_no(text):
    """Parse a setting that is true or false."""
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is not yes or no")
    return text == "yes"


def add_autoencoder_options(parser, several=False):
    """Add the options that say how to train an autoencoder.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    several : bool, default=False
        Whether each takes a list of values. A flag takes yes and no then, and alone means yes.
    """
    model = parser.add_argument_group("model and training")
    nargs = "+" if several else None
    flag = {"action": "store_true"}
    if several:
        flag = {"nargs": "*", "type": yes_or_no, "metavar": "yes|no"}

    def add(name, help, kind, metavar):
        add_setting(model, name, help, kind, metavar, nargs=nargs)

    def add_other(option, help, **how):
        model.add_argument(option, help=help, default=argparse.SUPPRESS, **how)

    add(
        "corruption_level",
        "probability that a pixel is hidden or replaced; 0 trains an autoencoder without noise",
        number(float, *VALID["corruption_level"]),
        "P",
    )
    add_other(
        "--corruption",
        "kind of noise; of gaussian, the level is the standard deviation (default: "
        f"{Config.corruption})",
        choices=["masking", "salt-and-pepper", "gaussian"],
        nargs=nargs,
    )
    add_other(
        "--cost",
        "what is minimized; squared-error, with a linear decoder, is for data outside [0, 1] "
        f"(default: {Config.cost})",
        choices=["cross-entropy", "squared-error"],
        nargs=nargs,
    )
    add_other(
        "--standardize",
        "subtract from each pixel its mean, divide by its standard deviation; for squared-error "
        "(default: leave them)",
        **flag,
    )
    add("n_hidden", "hidden units", positive_int, "N")
    add("learning_rate", "step size", number(float, *VALID["learning_rate"]), "ETA")
    add("training_epochs", "passes over the data", positive_int, "N")
    add("batch_size", "images in a minibatch", positive_int, "N")
    add_other(
        "--shuffle",
        "go through the images in a new order in each epoch (default: as they come)",
        **flag,
    )
    add_other(
        "--patience",
        "stop when this many epochs have not improved the cost of the validation images; the best "
        "model is kept as well (default: train all epochs)",
        type=positive_int,
        metavar="N",
        nargs=nargs,
    )
    add_other(
        "--validate-every",
        "epochs between looks at the validation images (default: so many that they take about a "
        "fiftieth of the time; 1 with --patience)",
        type=positive_int,
        metavar="N",
        nargs=nargs,
    )
    add("seed", "decides weights, noise and order", number(int, *VALID["seed"]), "N")
    add_floatX_option(model, nargs)


def add_engine_options(group):
    """Add the options that say who does the work.

    Parameters
    ----------
    group : argparse.ArgumentParser or argument group
    """
    group.add_argument(
        "--address",
        metavar="ADDRESS",
        help="the cluster of --backend dask or ray (default: one is started on this machine)",
    )
    group.add_argument(
        "--jobs",
        type=positive_int,
        metavar="N",
        help="how many processes work at once (default: as many as there are cores, or all of the "
        "cluster)",
    )


def add_run_options(parser, report_every):
    """Add the options that say where a training is kept, and what it prints.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    report_every : int
        The default number of epochs between reports.

    Returns
    -------
    argument group
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
    add_checkpoint_every_option(output)
    output.add_argument(
        "--report-every",
        type=positive_int,
        metavar="N",
        default=report_every,
        help=f"epochs between reports (default: {report_every})",
    )
    output.add_argument("--quiet", action="store_true", help="print errors only")
    add_threads_option(output)
    return output


def add_checkpoint_every_option(group):
    """Add the option that says how often a training is saved.

    Parameters
    ----------
    group : argparse.ArgumentParser or argument group
    """
    group.add_argument(
        "--checkpoint-every",
        type=positive_int,
        metavar="N",
        help="epochs between checkpoints (default: one a minute, also within an epoch)",
    )


def add_threads_option(group):
    """Add the option that says how many cores to use; it changes no digit.

    Parameters
    ----------
    group : argparse.ArgumentParser or argument group
    """
    group.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="cores to use where they pay (default: OMP_NUM_THREADS, or all that the process may "
        "use)",
    )


def path_ending_in(*endings):
    """Return the type of an option: a path with one of several endings.

    Parameters
    ----------
    *endings : str
        Such as ``.npy``; an empty one for a path without.

    Returns
    -------
    callable
        From the text to the path; it raises `argparse.ArgumentTypeError`.
    """
    *others, last = (ending or "without an ending" for ending in endings)
    expected = f"{', '.join(others)} or {last}" if others else last

    def parse(text):
        path = Path(text)
        if path.suffix not in endings:
            raise argparse.ArgumentTypeError(f"{text!r} is not a name ending in {expected}")
        return path

    return parse


def add_model_and_data(parser):
    """Add what a command that uses a trained model is given.

    Parameters
    ----------
    parser : argparse.ArgumentParser

    Returns
    -------
    argument group
        That of the data, for more options.
    """
    parser.add_argument("--version", action="version", version=f"dae {dae.__version__}")
    parser.add_argument("run", metavar="RUN", help="a run directory of dae-train, or a model file")
    data = parser.add_argument_group("data")
    data.add_argument(
        "data",
        metavar="DATA",
        help="an image, or what --data of dae-train takes: mini-mnist, mnist, a folder of images, "
        "which may have folders for classes inside, or of the four MNIST files; or an .npz, .npy "
        "or .pkl.gz file",
    )
    data.add_argument(
        "--part",
        choices=[*PARTS, "all"],
        default="all",
        help="which images of a data set that has parts (default: all of them, in this order)",
    )
    data.add_argument(
        "--resize",
        action="store_true",
        help="resize images in files to the size that the model expects (default: refuse others)",
    )
    add_cache_dir_option(data)
    add_image_options(parser)
    return data


def add_output_options(group):
    """Add how a command that uses a trained model puts out its results.

    Parameters
    ----------
    group : argparse.ArgumentParser or argument group
    """
    group.add_argument(
        "--force", action="store_true", help="replace the file that is there (default: refuse)"
    )
    group.add_argument("--quiet", action="store_true", help="print errors only")
    add_threads_option(group)
