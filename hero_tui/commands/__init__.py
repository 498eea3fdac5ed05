"""The commands behind `hero_tui.cli`. What needs torch is imported inside them."""
