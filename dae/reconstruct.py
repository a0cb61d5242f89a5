"""The command ``python -m dae.reconstruct``: see `dae.commands.reconstruct`."""

import sys

from dae.commands.reconstruct import main

if __name__ == "__main__":
    sys.exit(main())
