"""Tests mirror the tree; flow/ plays the eight stories through real processes."""
