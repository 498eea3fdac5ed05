"""Measures a run: success, blind comparison, divergence, speed."""
