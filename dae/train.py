"""The command ``python -m dae.train``: see `dae.commands.train`."""

import sys

from dae.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
