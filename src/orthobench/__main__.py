"""``python -m orthobench``: the command `orthobench`."""

import sys

from orthobench.cli import main

if __name__ == "__main__":
    sys.exit(main())
