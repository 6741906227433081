"""The contracts: one module per area, each a closed union of frozen models; ``catalogue`` maps a type to its model."""
