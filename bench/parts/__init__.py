"""What is measured on the stand, in modules by subject matter. Only that answers are whole is asserted."""
