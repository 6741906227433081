"""Looks at rules and at recorded decisions from outside: proofs, bundles, replays, differences and explanations."""
