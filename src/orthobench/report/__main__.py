"""``python -m orthobench.report FILE.parquet``."""

import sys

try:
    from orthobench.report.text import main
except FileNotFoundError as error:  # there is no repository
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

sys.exit(main())
