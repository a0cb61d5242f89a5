"""The command ``python -m dae.train_stacked``: see `dae.commands.train_stacked`."""

import sys

from dae.commands.train_stacked import main

if __name__ == "__main__":
    sys.exit(main())
