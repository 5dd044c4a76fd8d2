"""Whole stories against real server processes."""
