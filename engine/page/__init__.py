"""A page in the browser to enhance photos on: the people on it, whose turn it is, what they see, and what keeps it safe."""
