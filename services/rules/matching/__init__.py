"""Which conditions hold: one evaluator that decides, and durable-rules as a shadow beside it."""
