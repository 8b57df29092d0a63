"""What several recipes share: nothing here knows which of them asks."""
