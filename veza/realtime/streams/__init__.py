"""Live streams without I/O: their life, who watches them, what is said and felt in them."""
