"""The screens: labelling (the one that matters), zoom, help."""
