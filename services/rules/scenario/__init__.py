"""Stories: what happens to a rulebook in virtual time, and which effects must follow."""
