"""The report: one self-contained HTML file in which a stranger sees what a run found, picture by picture.

`page` what the report of a localization shows | `chain_page` that of a chain of stages | `template` writing a page |
`figures` overlays as data URIs, the geometry of the score plot | `*.html.j2` the pages: markup, style and script.
"""

from advcam.report.page import ReportPicture, ReportSummary, write_report

__all__ = ["ReportPicture", "ReportSummary", "write_report"]
