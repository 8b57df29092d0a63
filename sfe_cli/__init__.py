"""The command line: parse, one call into the core, render. Nothing heavy is imported here."""
