"""Live streams come in: encoders' connections, and the files that players read."""
