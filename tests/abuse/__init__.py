"""What hostile clients do, against a running platform. Each test ends with the others still being served."""
