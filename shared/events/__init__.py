"""The contracts: one module per area, each a closed union of values by CloudEvents type."""
