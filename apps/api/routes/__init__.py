"""One file a topic; every route is declared with `operation`."""
