"""Uploads in parts: their state in PFS, the rules of parts, listings of them, long work."""
