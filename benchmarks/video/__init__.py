"""Live pictures: what encodes and publishes them, and what plays them."""
