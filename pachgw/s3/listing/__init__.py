"""Keys in S3's order, packed, and the pages made of them."""
