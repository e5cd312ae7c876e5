"""pachgw: Pachyderm's versioned file system, served as Amazon S3."""

__version__ = "0.1.0"
