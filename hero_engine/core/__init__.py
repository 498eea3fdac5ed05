"""What every package shares: errors, labels, batches, random draws, events."""
