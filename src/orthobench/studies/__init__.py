"""Commands that measure and explain, `orthobench speed NAME` and `orthobench study NAME`: no part of running a cell.

Each is a module, ``NAME_speed`` or ``NAME``, with a function ``main`` that prints what it finds. It gets the values of
the options in `commands`, which the command line imports; nothing but a study imports a study.
"""
