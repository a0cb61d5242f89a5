"""The command ``python -m dae.train_logistic``: see `dae.commands.train_logistic`."""

import sys

from dae.commands.train_logistic import main

if __name__ == "__main__":
    sys.exit(main())
