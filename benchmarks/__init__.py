"""Every speed claim of this project, measured side by side with its peers.

::

    make bench                          # all of them: one table, exit code 1 when a limit is missed
    python -m benchmarks.hot_path       # one of them
    python -m benchmarks --quick        # a smoke run: the figures mean little

Absolute times depend on the machine, so most limits are ratios: both sides run in the same minutes, in turns (A B A B),
and medians are compared. Where a limit is a number of instructions, valgrind counts them: that figure is the same on a
busy machine. The peers come with ``pip install --group bench``, valgrind with the system.
"""
