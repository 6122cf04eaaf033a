"""The report: what a run recorded, said once as JSON and shown as a page, as Markdown and as JSON."""

from kolora.report.data import ReportData, report_json_schema
from kolora.report.gather import read_report_data
from kolora.report.migrate import parse_report
from kolora.report.provenance import without_provenance
from kolora.report.write import write_report

__all__ = ["ReportData", "parse_report", "read_report_data", "report_json_schema", "without_provenance", "write_report"]
