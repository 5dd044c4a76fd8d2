"""Small stand-ins for ports, used by tests of every room."""
