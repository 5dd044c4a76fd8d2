"""Which optional agents are on for a request, and why."""
