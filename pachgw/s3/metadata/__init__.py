"""What is said of an object beside its bytes: records, the branch that holds them, tags, descriptions."""
