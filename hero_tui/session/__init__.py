"""A labelling session as a pure model: marks, pages, undo, the run's state. No terminal."""
