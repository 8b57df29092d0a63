"""Looking at a corpus: numbers, pages, contact sheets, checks.

Below artefacts, people and the reading of a corpus; it changes nothing of one.
"""
