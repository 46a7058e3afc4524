"""Experiment files: what they may say, and how they are found, inherited, overridden, checked and refused.

`experiment` is the whole file, `tables` its parts, `finding` knows where files lie, `loading` reads and merges them,
`identifiers` reads components on the command line, `mistakes` words what is wrong. Nothing is imported here, so that a
reader of one pays for one.
"""
