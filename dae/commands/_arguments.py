"""How a command reads its arguments."""

import argparse
import re

from dae.commands._console import complain
from dae.training.config import POSITIVE


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
        Such as `dae.training.config.VALID` holds for a setting.

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


def image_shape(text):
    """Parse the height and width of an image, such as 28x28."""
    match = re.fullmatch(r"([1-9]\d{0,6})x([1-9]\d{0,6})", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH in pixels, such as 28x28")
    return [int(side) for side in match.groups()]
