"""Pictures in a terminal: find out what it can show, then encode for it.

`detect_terminal` asks the terminal once, before the app starts. A `Painter` (kitty, iterm, sixel,
symbols) turns a PNG into a `Drawing` for a box of cells, within its `byte_budget`;
`picture_encoder` runs painters off the event loop and caches their drawings.
"""
