"""Where things lie in the checkout."""

from pathlib import Path

#: The folder of the modules that tests share.
SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parent.parent
#: The committed results.
EXAMPLE = ROOT / "results/example_mixed"
#: A plugin with one component of every kind.
EVERY_KIND = SUPPORT / "every_kind.py"
