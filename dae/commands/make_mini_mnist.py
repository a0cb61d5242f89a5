"""The command `make_mini_mnist`: make the bundled tenth of MNIST.

``python -m dae.make_mini_mnist FOLDER mini_mnist.npz``
"""

from pathlib import Path

from dae.commands._arguments import Parser
from dae.commands._console import run_command

PROG = "python -m dae.make_mini_mnist"


def make_parser():
    """Return the parser."""
    parser = Parser(
        prog=PROG, description="Write the first tenth of each part of an MNIST to an npz file."
    )
    parser.add_argument("folder", help="where MNIST's four IDX files are")
    parser.add_argument("output", help="the npz file to write", type=Path)
    parser.set_defaults(quiet=False)
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
        make_mini_mnist(options.folder, options.output)

    return run_command(PROG, make_parser().parse_args, command, argv)


def make_mini_mnist(folder, output):
    """Write the first tenth of each part of an MNIST to an npz file.

    Parameters
    ----------
    folder : path-like
        Where its four IDX files are.
    output : pathlib.Path
        The file to write.
    """
    import numpy as np

    from dae._files import atomic_write
    from dae.datasets import PARTS, read_data

    mnist = read_data(folder)
    arrays = {}
    for part in PARTS:
        x, y = getattr(mnist, part)
        tenth = len(x) // 10
        arrays[f"{part}_x"] = x[:tenth].reshape(tenth, *mnist.image_shape)
        arrays[f"{part}_y"] = y[:tenth].astype(np.uint8)
    with atomic_write(output) as path, path.open("wb") as file:
        # NumPy dates every member 1980-01-01, so the same input gives the same bytes.
        np.savez_compressed(file, **arrays)
