"""The terminal side of hero: what a person sees, and which keys answer.

```
 keys ─▶ screens/labelling ─▶ session (marks, undo) ─▶ journal (durable) ─▶ caption
                                                              ║
 pictures ◀─ graphics (kitty, iterm, sixel, symbols) ◀─ events ◀─ bridge ◀═ engine thread
```
Nothing here imports torch: the engine is reached through `bridge.py` alone.
"""
