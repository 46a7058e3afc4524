"""Writes results of many variants and seeds that nobody trained, for trying what grows with them.

``python tests/support/many_variants.py FOLDER --variants 300 --seeds 3`` writes 900 runs in about a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from icl_curriculum.bench.many_variants import K, write_many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variants", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--longest", type=int, default=K, help="the examples of the longest prompts")
    given = parser.parse_args()
    write_many(given.folder, variants=given.variants, seeds=given.seeds, longest=given.longest)


if __name__ == "__main__":
    main()
