"""Looks at rules and at recorded decisions from outside: bundles, replays, differences and explanations."""
