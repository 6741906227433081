"""The rule files: their schema, how a folder of them becomes one Rulebook, and every check it must pass before use."""
