"""``python -m icl_curriculum.verify.record``: write down the banks as they are now, for `icl verify banks`.

It is for maintainers in a checkout, after raising `BANK_VERSION` or adding a class or a shift. Banks of the
recorded version keep their content: if one has changed, nothing is written unless ``--replace`` says that nobody
has used that version yet.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from icl_curriculum import evaluation
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import write_atomically
from icl_curriculum.evaluation.fingerprints import same_prompts
from icl_curriculum.verify.banks import GOLDEN, POINTS, PROMPTS, banks, described, read


def record(path: Path = GOLDEN, *, replace: bool = False) -> int:
    """Record all banks and return their number. UserError if one has changed without a new `BANK_VERSION`."""
    found = {name: {shift: described(bank) for shift, bank in row.items()} for name, row in banks().items()}
    if path.exists() and not replace:
        _keep_recorded(read(path), found)
    head = {"bank_version": evaluation.banks.BANK_VERSION, "prompts": PROMPTS, "points": POINTS, "seed": 0}
    lines = [f"  {json.dumps(key)}: {value}," for key, value in head.items()]
    rows = [
        f"    {json.dumps(name)}: {{\n"
        + ",\n".join(f"      {json.dumps(shift)}: {json.dumps(bank)}" for shift, bank in row.items())
        + "\n    }"
        for name, row in found.items()
    ]
    write_atomically(path, "\n".join(["{", *lines, '  "banks": {', ",\n".join(rows), "  }", "}", ""]))
    return sum(map(len, found.values()))


def _keep_recorded(golden: dict[str, object], found: dict[str, dict[str, dict[str, object]]]) -> None:
    """Leave what is recorded as it is, since another machine rounds otherwise; UserError for what has changed."""
    recorded = golden["banks"]
    assert isinstance(recorded, dict)
    if golden["bank_version"] != evaluation.banks.BANK_VERSION:
        return
    changed = [
        f"{name}, {shift}"
        for name, row in found.items()
        for shift, bank in row.items()
        if shift in recorded.get(name, {}) and not same_prompts(recorded[name][shift], bank)
    ]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UserError(
            f"{'; '.join(changed[:3])}{more}: not what bank version {evaluation.banks.BANK_VERSION} was "
            "recorded with; raise BANK_VERSION in evaluation/banks.py, or use --replace if nobody has used that "
            "version yet"
        )
    for name, row in found.items():
        row.update({shift: bank for shift, bank in recorded.get(name, {}).items() if shift in row})


def main(arguments: list[str] | None = None) -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m icl_curriculum.verify.record", description=__doc__.split("\n")[0])
    parser.add_argument("--replace", action="store_true", help="although the version stays, replace what has changed")
    try:
        count = record(GOLDEN, replace=parser.parse_args(arguments).replace)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{count} banks of version {evaluation.banks.BANK_VERSION} recorded in {GOLDEN}")


if __name__ == "__main__":
    main()
