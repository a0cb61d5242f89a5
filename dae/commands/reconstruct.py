"""The command `reconstruct`: reconstruct images with a trained model, and so remove noise."""

from math import inf

from dae.commands._arguments import Parser, number, path_ending_in, positive_int
from dae.commands._console import run_command
from dae.commands._options import add_model_and_data, add_output_options
from dae.training.settings import VALID

PROG = "dae-reconstruct"


def make_parser():
    """Return the parser."""
    parser = Parser(
        prog=PROG,
        description="Reconstruct images, by encoding and decoding them; a model that was trained "
        "with noise removes noise like it.",
        allow_abbrev=False,
    )
    data = add_model_and_data(parser)
    data.add_argument(
        "--n-images",
        type=positive_int,
        metavar="N",
        help="only the first N (default: 10 for a picture, else all)",
    )
    noise = parser.add_argument_group("noise")
    noise.add_argument(
        "--corruption-level",
        type=number(float, "a number from 0 up", lambda value: 0 <= value < inf),
        default=0.0,
        metavar="P",
        help="add the noise that the model was trained with, at this level (default: none)",
    )
    noise.add_argument(
        "--seed",
        type=number(int, *VALID["seed"]),
        default=123,
        metavar="N",
        help="decides the noise (default: 123)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        required=True,
        type=path_ending_in(".png", ".npy", ".npz", ""),
        metavar="OUT",
        help="NAME.png, a picture with a row each for the images, the images with noise, if any "
        "is added, and the reconstructions; NAME.npy, one array; NAME.npz, arrays "
        "reconstructions, corrupted and, as far as there are any, labels, label_names and names; "
        "or NAME, a folder of pictures",
    )
    add_output_options(output)
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
        from dae.commands._reconstruct_and_save import reconstruct_and_save

        reconstruct_and_save(options, session)

    return run_command(PROG, make_parser().parse_args, command, argv)
