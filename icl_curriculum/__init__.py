"""In-context learning of synthetic function classes: generators, curricula, training, evaluation.

The public names are those of ``__init__.pyi``. Each is imported when it is first used, so that
``import icl_curriculum`` and ``icl --help`` load nothing heavy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
