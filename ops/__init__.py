"""Stet's command line for operators."""
