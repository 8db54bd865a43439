"""``python -m orthobench.report FILE.parquet``."""

import sys

from orthobench.report.text import main

sys.exit(main())
