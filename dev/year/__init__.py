"""``make year``: a year of traffic on the virtual clock, with every sweep, and how large each table is after it."""
