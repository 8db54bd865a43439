"""Methods that control the spectrum of a matrix, and the benchmarks that compare them."""

__version__ = "0.1.0"
