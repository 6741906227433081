"""Which conditions hold: one evaluator that decides, and durable-rules as the second engine beside it."""
