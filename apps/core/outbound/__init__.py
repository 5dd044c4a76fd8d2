"""The one door for outgoing HTTP by URL: what callers name, and servers of the operator's own."""
