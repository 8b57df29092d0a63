"""Who is on the photos, which are copies, and which faces stand on one side of the split."""
