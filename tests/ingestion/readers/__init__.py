"""Tests of the readers, one file for each guard they share."""
