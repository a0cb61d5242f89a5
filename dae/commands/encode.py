"""The command `encode`: compute the codes of images with a trained model."""

from dae.commands._arguments import Parser, path_ending_in
from dae.commands._console import run_command
from dae.commands._options import add_engine_options, add_model_and_data, add_output_options

PROG = "dae-encode"


def make_parser():
    """Return the parser."""
    parser = Parser(
        prog=PROG,
        description="Compute the codes of images, the values of the hidden units.",
        allow_abbrev=False,
    )
    add_model_and_data(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        required=True,
        type=path_ending_in(".npy", ".npz", ".csv"),
        metavar="FILE",
        help="NAME.npy, one array, a row for each image; NAME.npz, arrays codes and, as far as "
        "there are any, labels, label_names and names; or NAME.csv, a table with a header",
    )
    add_output_options(output)
    workers = parser.add_argument_group("workers")
    workers.add_argument(
        "--backend",
        choices=["loky", "dask", "ray"],
        help="have processes on this machine do it, or a cluster, whose workers see the model "
        "under the same path (default: do it in this process)",
    )
    add_engine_options(workers)
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

    def command(options, session):
        from dae.commands._encode_and_save import encode_and_save

        encode_and_save(options, session)

    return run_command(PROG, make_parser().parse_args, command, argv)
