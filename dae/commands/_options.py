"""Options of several commands, above all of those that use a trained model."""

import argparse

import dae
from dae.commands._arguments import positive_int
from dae.training.config import Config

PARTS = ("train", "valid", "test")
"""As `dae.datasets.PARTS`, without importing NumPy."""


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
