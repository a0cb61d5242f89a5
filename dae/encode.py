"""The command ``python -m dae.encode``: see `dae.commands.encode`."""

import sys

from dae.commands.encode import main

if __name__ == "__main__":
    sys.exit(main())
