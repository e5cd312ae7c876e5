"""The bytes of files on their way to a reader: what may be kept of them, and how they stay of one version."""
