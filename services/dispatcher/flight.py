"""What is in flight: begun, and its result not yet committed."""

from collections import Counter
from collections.abc import Collection, Mapping

from services.dispatcher.claims import Intent


class Flight:
    """Counts per line, and the people with something in flight: they get nothing else until it has landed."""

    def __init__(self) -> None:
        self._lines: Counter[str] = Counter()
        self._people: dict[str, str] = {}  # message id → person id
        self._templates: Counter[tuple[str, str]] = Counter()
        self._called_back: set[str] = set()

    def __len__(self) -> int:
        return len(self._people)

    @property
    def lines(self) -> Mapping[str, int]:
        return self._lines

    @property
    def people(self) -> Collection[str]:
        return self._people.values()

    @property
    def message_ids(self) -> Collection[str]:
        return self._people.keys()

    @property
    def templates(self) -> Collection[tuple[str, str]]:
        return [template for template, sends in self._templates.items() if sends]

    def call_back(self, message_id: str) -> None:
        """Its request must not begin, should it not have begun yet. The word may come before ``take_off``."""
        self._called_back.add(message_id)

    def is_called_back(self, intent: Intent) -> bool:
        return intent.message_id in self._called_back

    def take_off(self, intent: Intent) -> None:
        self._lines[intent.target.line] += 1
        self._people[intent.message_id] = intent.target.person_id
        if intent.target.template:
            self._templates[intent.target.template] += 1

    def land(self, intent: Intent) -> None:
        self._lines[intent.target.line] -= 1
        del self._people[intent.message_id]
        self._called_back.discard(intent.message_id)
        if intent.target.template:
            self._templates[intent.target.template] -= 1
