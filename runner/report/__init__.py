"""The report: what a run recorded, said once as JSON and shown as a page, as Markdown and as JSON."""

from runner.report.data import ReportData, report_json_schema
from runner.report.gather import read_report_data
from runner.report.write import write_report

__all__ = ["ReportData", "read_report_data", "report_json_schema", "write_report"]
