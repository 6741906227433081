"""Stories beside the eight of the demo, with the same functions."""
