"""Experiment files: what they may say, and how they are found, inherited, overridden, checked and refused.

`experiment` is the whole file, `tables` its parts, `loading` finds and merges files, `identifiers` reads components on
the command line, `mistakes` words what is wrong. Nothing is imported here, so that a reader of one pays for one.
"""
