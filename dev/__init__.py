"""What stands in for the outside world on a laptop: a real broker and database, two simulators, the demo."""
