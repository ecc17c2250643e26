"""Benchmarks: every claim of speed that streamd makes has its program here.

Each module measures one thing against a real daemon or a real room and is started by hand, after ``pip
install -e '.[bench]'``, with ``python -m benchmarks.<name>``. It says in its docstring what it measures and
what it leaves out, and prints a table for people or, with ``--json``, one document for programs.

Benchmarks are no tests: nothing here fails because a machine is slow, and the test suite runs none of them.
A change that is made for speed gives the figures of one of these modules, before and after, from one
machine and one sitting; only ratios are worth keeping, since the absolute figures belong to the disk and
the cores that gave them.
"""
