"""Home of the import path that requirements document 002 promises."""
