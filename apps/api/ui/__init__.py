"""Pages and their assets, served by us so that they work without a network."""
