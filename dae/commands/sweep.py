"""The command `sweep`: train an autoencoder with each combination of settings, on all cores."""

import sys

import dae
from dae.commands._arguments import Parser
from dae.commands._console import run_command
from dae.commands._options import add_engine_options, add_threads_option
from dae.commands._training_options import (
    add_autoencoder_options,
    add_checkpoint_every_option,
    add_data_options,
)

PROG = "dae-sweep"


def make_parser():
    """Return the parser; settings that are not given are absent from what it parses."""
    parser = Parser(
        prog=PROG,
        description="Train a denoising autoencoder with each combination of the given settings, "
        "in a run directory each, and rank them. The same command goes on with a sweep that was "
        "stopped; with more values, it trains what is missing.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dae {dae.__version__}")
    add_data_options(parser)
    add_autoencoder_options(parser, several=True)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-dir",
        metavar="DIR",
        help="a new or empty directory, or that of a sweep to go on with (default: one under "
        "sweeps/, named after the time)",
    )
    add_checkpoint_every_option(output)
    output.add_argument(
        "--no-report",
        action="store_false",
        dest="report",
        help="do not write the page report.html of each run",
    )
    output.add_argument("--quiet", action="store_true", help="print errors only")
    workers = parser.add_argument_group("workers")
    workers.add_argument(
        "--backend",
        choices=["loky", "dask", "ray"],
        default="loky",
        help="who trains: processes on this machine, or a cluster, whose workers see the same "
        "files under the same paths (default: loky, processes)",
    )
    add_engine_options(workers)
    add_threads_option(workers)
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
        The exit status: 0, 1 if a run failed, 2 for wrong usage, 128 + n after signal n.
    """

    def parse(argv):
        options = make_parser().parse_args(argv)
        options.words = sys.argv[1:] if argv is None else argv
        return options

    def command(options, session):
        from dae.commands._train_sweep import train_sweep

        train_sweep(options, session)

    return run_command(PROG, parse, command, argv)
