"""Algorithm 1 (`loop.py`), its state, and what wraps it."""
