"""The command ``python -m dae.sweep``: see `dae.commands.sweep`."""

import sys

from dae.commands.sweep import main

if __name__ == "__main__":
    sys.exit(main())
