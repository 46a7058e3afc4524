"""Statistics on plain arrays: arrays in, numbers out.

`prompts`: intervals over the prompts of a bank. `seeds`: over training seeds. `curves`: numbers of one learning curve.
`moments`: means of independent numbers, and whether one that is stated can be theirs.
Nothing is imported here, as the second takes scipy, which training can do without.
"""

#: The normalized error that convergence and data efficiency ask for, unless told otherwise.
THRESHOLD = 0.5
