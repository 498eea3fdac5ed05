"""The terminal side of hero: what a person sees, and which keys answer.

```
 keys ─▶ screens ─────▶ session (marks, undo) ─▶ journal (durable) ─▶ caption
                                                              ║
 pictures ◀─ graphics (kitty, iterm, sixel, symbols) ◀─ events ◀─ bridge ◀═ engine thread
```
The app touches no tensor: it reaches the engine through `session/engine_bridge.py`.
"""

import os

os.environ.setdefault("TEXTUAL_FPS", "240")
"""How often Textual may paint: at its own 60 times a second a key would wait up to 16 ms."""
