"""What is told beside the eight stories of the demo, by the same verbs."""
