"""The stories and their interruptions, through real processes."""
