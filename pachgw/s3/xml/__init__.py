"""S3's XML: the bodies that are read, the answers that are written."""
