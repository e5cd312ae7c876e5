"""When keys changed: the index of changes, how it is filled from PFS, and what actions ask of it."""
