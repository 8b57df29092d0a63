"""What expression is asked for, and the conversions between the ways to say it."""
