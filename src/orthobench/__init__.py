"""Methods that control the spectrum of a matrix, and the benchmarks that compare them."""

import sys

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"]:  # Python looks for a module to run
    from orthobench.old_names import answer

    answer()
