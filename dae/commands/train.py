"""The command `train`: train an autoencoder and keep what comes out.

`python -m dae.train` repeats the worksheet's denoising autoencoder.
"""

import dae
from dae.commands._arguments import Parser, positive_int
from dae.commands._console import run_command
from dae.commands._training_options import (
    add_autoencoder_options,
    add_data_options,
    add_run_options,
)

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

    add_autoencoder_options(parser)
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

    def command(options, session):
        from dae.commands._train_and_save import train_and_save

        train_and_save(options, session)

    return run_command(PROG, make_parser().parse_args, command, argv)
