"""The pieces of the screen. Each one repaints only itself."""
