"""Looking at a corpus: numbers, pages, contact sheets, checks."""
