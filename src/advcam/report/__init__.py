"""The report: one self-contained HTML file in which a stranger sees what a run found, picture by picture.

`page` what a report shows, and writing it | `figures` overlays as data URIs, the geometry of the score plot |
`page.html.j2` the page itself: markup, style and the script of the animation.
"""

from advcam.report.page import ReportPicture, ReportSummary, write_report

__all__ = ["ReportPicture", "ReportSummary", "write_report"]
