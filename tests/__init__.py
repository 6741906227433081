"""Tests mirror the tree; flow/ tells the eight stories through real processes."""
