"""What a mutation did, for its payload and for the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Written:
    """``changed`` is false where the record already was as asked; ``more`` are further fields of the payload."""

    record: object
    changed: bool = True
    more: Mapping[str, object] = field(default_factory=dict)
