"""Commands that measure and explain, by ``python -m``: no part of running a cell, and imported by nothing else."""
