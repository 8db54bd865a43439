"""``python -m orthobench.report``: `orthobench report`, without the command."""

import sys

try:
    from orthobench.report.command import main
except FileNotFoundError as error:  # there is no repository
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

sys.exit(main())
