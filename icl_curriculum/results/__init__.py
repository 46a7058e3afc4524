"""The run directory and its tables: what is written, how it is read again, and what is computed from it.

`columns` says what every table holds, `directory` writes a run's, `tables` reads an experiment's; `statistics` are on
plain arrays, `comparison` sets runs side by side. Nothing is imported here.
"""
