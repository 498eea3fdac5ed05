"""Settings, presets and tasks, and how they are read and checked."""
