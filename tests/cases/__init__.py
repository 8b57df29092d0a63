"""Small inputs as people have them, one module a kind, all generated: no photo of a real person.

A module has `make(folder)`, which writes its inputs below `folder`, the same bytes every time.
`python -m tests.cases FOLDER` writes them all, to try `sfe` on by hand.
"""
