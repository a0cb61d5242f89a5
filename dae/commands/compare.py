"""The command `compare`: show trainings side by side."""

from pathlib import Path

import dae
from dae.commands._arguments import Parser, path_ending_in
from dae.commands._console import run_command
from dae.commands._options import add_cache_dir_option, add_output_options

PROG = "dae-compare"


def make_parser():
    """Return the parser."""
    parser = Parser(
        prog=PROG,
        description="Compare trainings: the settings that differ, results, curves, filters, and "
        "reconstructions of the same images, as a table and in one page.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dae {dae.__version__}")
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run directories, two at the least; the first says which images are reconstructed",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=path_ending_in(".html"),
        default=Path("comparison.html"),
        metavar="FILE",
        help="the page (default: comparison.html)",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="where the images to reconstruct lie, as for dae-train (default: as the first run "
        "says)",
    )
    add_cache_dir_option(parser)
    add_output_options(parser)
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
        The exit status: 0, 1 for a failure, 2 for wrong usage, 128 + n after signal n.
    """

    def parse(argv):
        parser = make_parser()
        options = parser.parse_args(argv)
        if len(options.runs) < 2:
            parser.error("one RUN is not enough; expected two at the least")
        return options

    def command(options, session):
        from dae.commands._compare_runs import compare_runs

        compare_runs(options, session)

    return run_command(PROG, parse, command, argv)
