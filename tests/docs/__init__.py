"""Documentation is executed: what it tells a stranger to type must work."""
