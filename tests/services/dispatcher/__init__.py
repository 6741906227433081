"""The dispatcher: hearts as tables, places against the simulator and a real database."""
