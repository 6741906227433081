"""Tests of the dispatcher: pure parts by tables, the rest against the simulator and a real database."""
