"""How a command reads its arguments: its parser, and the kinds of values."""

import argparse
import re
from pathlib import Path

from dae.commands._console import complain
from dae.training.settings import POSITIVE


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


def yes_or_no(text):
    """Parse a setting that is true or false."""
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is not yes or no")
    return text == "yes"


def image_shape(text):
    """Parse the height and width of an image, such as 28x28."""
    match = re.fullmatch(r"([1-9]\d{0,6})x([1-9]\d{0,6})", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH in pixels, such as 28x28")
    return [int(side) for side in match.groups()]


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
