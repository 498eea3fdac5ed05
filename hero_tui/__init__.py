"""The terminal side of hero: what a person sees, and which keys answer.

```
 keys ─▶ screens/labelling ─▶ session (marks, undo) ─▶ journal (durable) ─▶ caption
                                                              ║
 pictures ◀─ graphics (kitty, iterm, sixel, symbols) ◀─ events ◀─ bridge ◀═ engine thread
```
Nothing here imports torch: the engine is reached through `bridge.py` alone.
"""

import os

os.environ.setdefault("TEXTUAL_FPS", "240")
"""How often Textual may paint: at its own 60 times a second a key would wait up to 16 ms."""
