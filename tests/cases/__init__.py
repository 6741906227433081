"""Inputs that once failed, each in a folder of its own outside this repository, at ``STET_CASES``."""
