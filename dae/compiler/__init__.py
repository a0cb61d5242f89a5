"""What makes plain formulas fast: ops, and their inner loops."""
