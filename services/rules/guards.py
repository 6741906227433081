"""The one place that decides whether the time of something has come: what only time brings about happens nowhere else.

Its instant must lie behind us, and all that was said before it must have been read: an answer that stood in Kafka, or
stands in a queue, before a reminder was due, comes before the reminder.
"""

from datetime import datetime

from services.rules.chain import Chain
from services.rules.desk import Desk


def has_come(desk: Desk, chain: Chain, due: datetime | None) -> bool:
    """Whether something of this chain that is due then may happen now."""
    return due is not None and due <= desk.now and due <= desk.world.read_to(chain)
