"""What a run keeps on disk: its folder, the journal of labels, checkpoints."""
