"""Options of the commands that train: data, model, and where a training is kept."""

import argparse

from dae.commands._arguments import image_shape, number, positive_int, yes_or_no
from dae.commands._options import (
    add_cache_dir_option,
    add_image_options,
    add_setting,
    add_threads_option,
)
from dae.training.config import Config
from dae.training.settings import VALID


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
