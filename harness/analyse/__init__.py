"""What follows from records: pure functions."""
