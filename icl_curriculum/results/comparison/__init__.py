"""What training runs say together: every run's outcomes, their statistics over seeds, and what may be compared.

`outcomes` has a row per run and cell, `summary` the statistics over seeds, `comparable` refuses what cannot stand side
by side, `sheets` puts the statistics into tables of texts. A cell is a function class with an input distribution.
Everything is from tables alone.
"""
