"""Shared words and rules, and one door to each outside system."""
