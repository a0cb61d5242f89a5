"""The command `train`: train an autoencoder and keep what comes out.

`python -m dae.train` repeats the worksheet's denoising autoencoder.
"""

import argparse

import dae
from dae.commands._arguments import (
    Parser,
    add_data_options,
    add_floatX_option,
    add_run_options,
    add_setting,
    number,
    positive_int,
)
from dae.commands._console import Session, close_stdout
from dae.training.config import Config
from dae.training.settings import VALID

PROG = "dae-train"


def make_parser():
    """Return the parser; settings that are not given are absent from what it parses."""
    parser = Parser(
        prog=PROG,
        description="Train a denoising autoencoder, as the Theano tutorial does.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dae {dae.__version__}")

    add_data_options(parser)

    model = parser.add_argument_group("model and training")
    add_setting(
        model,
        "corruption_level",
        "probability that a pixel is hidden or replaced; 0 trains an autoencoder without noise",
        number(float, *VALID["corruption_level"]),
        "P",
    )
    model.add_argument(
        "--corruption",
        help=f"kind of noise; of gaussian, the level is the standard deviation (default: "
        f"{Config.corruption})",
        choices=["masking", "salt-and-pepper", "gaussian"],
        default=argparse.SUPPRESS,
    )
    model.add_argument(
        "--cost",
        help="what is minimized; squared-error, with a linear decoder, is for data outside [0, 1] "
        f"(default: {Config.cost})",
        choices=["cross-entropy", "squared-error"],
        default=argparse.SUPPRESS,
    )
    model.add_argument(
        "--standardize",
        help="subtract from each pixel its mean, divide by its standard deviation; for "
        "squared-error (default: leave them)",
        action="store_true",
        default=argparse.SUPPRESS,
    )
    add_setting(model, "n_hidden", "hidden units", positive_int, "N")
    add_setting(model, "learning_rate", "step size", number(float, *VALID["learning_rate"]), "ETA")
    add_setting(model, "training_epochs", "passes over the data", positive_int, "N")
    add_setting(model, "batch_size", "images in a minibatch", positive_int, "N")
    model.add_argument(
        "--shuffle",
        help="go through the images in a new order in each epoch (default: as they come)",
        action="store_true",
        default=argparse.SUPPRESS,
    )
    model.add_argument(
        "--patience",
        help="stop when this many epochs have not improved the cost of the validation images; "
        "the best model is kept as well (default: train all epochs)",
        type=positive_int,
        metavar="N",
        default=argparse.SUPPRESS,
    )
    model.add_argument(
        "--validate-every",
        help="epochs between looks at the validation images (default: so many that they take about "
        "a fiftieth of the time; 1 with --patience)",
        type=positive_int,
        metavar="N",
        default=argparse.SUPPRESS,
    )
    add_setting(model, "seed", "decides weights, noise and order", number(int, *VALID["seed"]), "N")
    add_floatX_option(model)

    output = add_run_options(parser, report_every=10)
    output.add_argument(
        "--snapshots",
        type=positive_int,
        metavar="N",
        help="keep a picture of the filters every N epochs, and animate them in filters.gif and in "
        "the page (default: none)",
    )
    output.add_argument(
        "--sort-filters",
        action="store_true",
        help="draw the hidden units first that contribute most to the reconstructions",
    )
    output.add_argument(
        "--no-report",
        action="store_false",
        dest="report",
        help="do not write the page report.html",
    )
    return parser


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit status: 0, 1 for a failed run, 2 for wrong usage, 128 + n after signal n.
    """
    try:
        options = make_parser().parse_args(argv)
        session = Session(PROG, options.quiet)

        def command():
            # PyTensor comes with it, which --help need not wait for.
            from dae.commands._train_and_save import train_and_save

            train_and_save(options, session)

        return session.run(command)
    finally:
        close_stdout()
