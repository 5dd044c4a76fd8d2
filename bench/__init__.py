"""Measurements that print a table; ratios are taken inside one run on one machine."""
