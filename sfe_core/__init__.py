"""The work behind the `sfe` command: from a folder of face photographs to a measured checkpoint.

Nothing in this package prints, exits the process or knows of the command line. Long work reports
through a `sfe_core.reporting.Reporter`; mistakes and failures are `sfe_core.errors.SfeError`s.
"""

__version__ = "0.1.0"
