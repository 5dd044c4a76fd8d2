"""Small classes that stand in for a port."""
