"""From photos to a corpus: plan, workers, journal, index."""
