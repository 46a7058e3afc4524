"""The package's logger: details that nobody needs to read, which ``icl --verbose`` shows.

In Python, ``logging.getLogger("icl_curriculum").setLevel("INFO")`` lets them through to whatever handlers there are.
"""

from __future__ import annotations

import logging

LOG = logging.getLogger("icl_curriculum")
