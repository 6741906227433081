"""What the four services agree on (ids, errors, events, topics), and the plumbing under them."""
