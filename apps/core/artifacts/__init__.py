"""Versioned index directories: written aside, verified, published at once."""
