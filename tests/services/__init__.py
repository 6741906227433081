"""Tests of the four services."""
