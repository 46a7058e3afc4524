"""One run from start to end, and where runs execute.

`execution` trains, records, evaluates and writes one run; `launch` executes many, here or in worker processes, and
collects their tables; `experiment` adds figures, summary and report. Nothing is imported here.
"""
