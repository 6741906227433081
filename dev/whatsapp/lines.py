"""The business's own numbers: each a named line with Meta's phone number id and an invented display number."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HOME_CODE = "1"  # the country code of every display number
_FIRST_DISPLAY = 15550783881


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    phone_number_id: str
    display: str

    @property
    def metadata(self) -> dict[str, str]:
        return {"display_phone_number": self.display, "phone_number_id": self.phone_number_id}


class Lines:
    def __init__(self, phone_number_ids: Mapping[str, str]) -> None:
        self._all = [
            Line(name, number_id, str(_FIRST_DISPLAY + place))
            for place, (name, number_id) in enumerate(phone_number_ids.items())
        ]
        self._by_id = {line.phone_number_id: line for line in self._all}

    def __iter__(self) -> Iterator[Line]:
        return iter(self._all)

    def numbered(self, phone_number_id: str) -> Line | None:
        return self._by_id.get(phone_number_id)

    def find(self, word: str) -> Line | None:
        """By name or phone number id."""
        return self._by_id.get(word) or next((line for line in self._all if line.name == word), None)
