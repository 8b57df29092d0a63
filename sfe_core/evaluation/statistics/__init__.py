"""From readings to numbers with intervals."""
