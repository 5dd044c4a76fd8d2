"""`dtrag`: the operators' command line."""
