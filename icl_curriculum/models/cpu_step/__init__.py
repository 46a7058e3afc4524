"""The training step of the transformer on a CPU, by hand: gradients, compiled loops, memory that is kept.

It computes what autograd computes and is one optional way for a model to train; see `training_pass`.
"""
