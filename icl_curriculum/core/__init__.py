"""What every room stands on: registry, errors, random streams, prompts, plugins, files and the machine.

Nothing is imported here: the registry is light, while `machine`, `prompts` and `streams` import torch.
"""
