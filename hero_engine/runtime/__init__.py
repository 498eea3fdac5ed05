"""The engine thread: takes commands, emits events."""
