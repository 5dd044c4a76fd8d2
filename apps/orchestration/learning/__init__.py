"""Arrays in, arrays out: what the service learns from its own traffic."""
