"""Settings from files, variables and options, and what a person prefers."""
