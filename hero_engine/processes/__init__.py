"""More than one process: which one this is, what each does of a round, who watches whom."""
