"""What the package warns of while a command works, as notes beside the results."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from icl_curriculum.cli.endings import echo, tracebacks
from icl_curriculum.core.notices import LeftOut, MadeAnew, NotRecordedAnew, NotShown
from icl_curriculum.core.printable import harmless


@contextlib.contextmanager
def notices_printed() -> Iterator[None]:
    """Print what could not be shown of results as a note, and with --debug where it failed; other warnings as ever.

    Likewise what was made anew. After runs that were left out, each of which is named once, the exit code is 1.
    """
    left_out: dict[str, None] = {}
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            # Late, as `icl --help` needs no terminal of rich's.
            from icl_curriculum.cli.output import failure, note

            if isinstance(message, LeftOut):
                if str(message) not in left_out:
                    failure(str(message), label="damaged: ")
                left_out[str(message)] = None
            elif isinstance(message, MadeAnew | NotRecordedAnew | NotShown):
                note(str(message), label="note: ")
                if tracebacks() and isinstance(message, NotShown):
                    echo(message.details, err=True)
            else:
                text = harmless(str(message))
                others(message if text == str(message) else text, category, *place, **more)

        for kind in (NotShown, LeftOut, MadeAnew, NotRecordedAnew):
            warnings.simplefilter("always", kind)
        warnings.showwarning = show
        try:
            yield
        except SystemExit as end:
            if end.code or not left_out:
                raise
        if left_out:
            sys.exit(1)
