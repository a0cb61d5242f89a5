"""The command ``python -m dae.compare``: see `dae.commands.compare`."""

import sys

from dae.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
