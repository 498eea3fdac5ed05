"""Settings from files, variables and options, and the preferences of the app."""
