"""The state machine that turns a question into a cited answer."""
