"""Pictures from a packaged pipeline: split runs, triptychs, galleries."""
