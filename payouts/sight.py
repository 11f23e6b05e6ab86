"""What somebody may see: one organisation's live or test side, or, for operators, everything.

Every rule that reads or mends what partners own takes a `Sight` and asks the database with it, so that another
organisation's rows are as unknown as rows that do not exist, whatever ids are guessed.
"""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Sight:
    """A view of partners' rows. Never made from what a request claims, only from who was let in."""

    organisation_id: str | None
    test_mode: bool | None

    def narrows(self, alias: str) -> str:
        """Return the SQL condition on a table that has `organisation_id` and `test_mode`."""
        return " AND ".join(
            [
                "true" if self.organisation_id is None else f"{alias}.organisation_id = :organisation_id",
                "true" if self.test_mode is None else f"{alias}.test_mode = :test_mode",
            ]
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """Return what `narrows` names."""
        given = {"organisation_id": self.organisation_id, "test_mode": self.test_mode}
        return {name: value for name, value in given.items() if value is not None}


EVERYTHING: Final = Sight(None, None)
"""For operators."""
