"""Numbers people can trust: metrics, their intervals, plots and the report."""
