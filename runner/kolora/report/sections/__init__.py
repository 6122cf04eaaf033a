"""The report's sections, one a module, each a ``kolora.report.section.Section``."""
