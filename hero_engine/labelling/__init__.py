"""Annotators: who labels a round. A person, the judge, a simulated annotator, a file."""
