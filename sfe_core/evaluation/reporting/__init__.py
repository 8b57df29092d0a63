"""The pages, plots, tables and cards of an evaluation."""
