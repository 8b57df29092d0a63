"""The `sfe` command."""


def run() -> None:
    """Entry point."""
    raise SystemExit("being built")
