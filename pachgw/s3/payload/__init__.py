"""The bytes of a body: unframed, verified against signature, digests and checksums."""
