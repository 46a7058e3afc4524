"""How training methods carry over to what they were not trained on: transfer.csv, from result tables and configs.

`domains` says which errors are of seen and of unseen cells, `settings` which plain runs a variant is compared with,
`ladder` reads between plain runs of several lengths, `comparisons` sets variants beside plain ones, `table` makes the
rows, `sheets` words them.
"""
