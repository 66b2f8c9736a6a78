"""Photo files in and out."""
