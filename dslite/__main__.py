"""Run the command: ``python -m dslite``."""

from dslite.cli import run

run()
