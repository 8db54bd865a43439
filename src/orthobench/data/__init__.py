"""Data for the benchmarks: synthetic matrices, recorded momenta, embedded data sets, and the cache of references."""

from orthobench.data.cache import cached
from orthobench.data.embedded import digits, python_manual
from orthobench.data.momenta import record_momenta
from orthobench.data.spectra import gaussian, with_spectrum

__all__ = ["cached", "digits", "gaussian", "python_manual", "record_momenta", "with_spectrum"]
