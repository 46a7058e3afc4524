"""Runs that others trained: checkpoints of Garg et al.'s and Bhasin et al.'s code become folders of finished runs.

`checkpoint` reads the file, `configuration` the ``config.yaml`` beside it; `weights`, `trained_on`, `prompt_lengths`
and `told_before` translate them, `foreign_run` puts them together, `command` writes the folder.
"""

from icl_curriculum.runs.importing.command import import_checkpoint

__all__ = ["import_checkpoint"]
