"""How fast the networks are, beside what else there is, in the same run: docs/speed-tables.md.

What is asked of a framework is asked in a process of its own, which keeps its models; the processes take turns, a run
each, so that whatever else a machine does falls on all of them.
"""
