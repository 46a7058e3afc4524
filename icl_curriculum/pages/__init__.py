"""One self-contained HTML page for an experiment: `report_on`.

It opens from disk without a network: figures are SVG inside the page, style and script too. Everything in it comes
from the result tables, the runs' configs and their manifests.
"""

from icl_curriculum.pages.page import WrittenReport, report_on, write_report

__all__ = ["WrittenReport", "report_on", "write_report"]
