"""The command ``python -m dae.make_mini_mnist``: see `dae.commands.make_mini_mnist`."""

import sys

from dae.commands.make_mini_mnist import main

if __name__ == "__main__":
    sys.exit(main())
