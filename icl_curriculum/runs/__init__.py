"""One run from start to end, and where runs execute.

`execution` trains, records, evaluates and writes one run; `launch` executes many in worker processes and collects
their tables. Nothing is imported here.
"""
