"""Stories: what happens to a rulebook in virtual time, and everything that must come of it."""
