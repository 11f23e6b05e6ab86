"""Figures as tables: each variant's value per round, and the ratios that are asked of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Check:
    """One value per round, and the bound that their median has to keep."""

    name: str
    values: Sequence[float]
    bound: float
    at_most: bool = False
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Tell whether the median keeps the bound."""
        middle = median(self.values)
        return middle <= self.bound if self.at_most else middle >= self.bound

    def row(self) -> list[str]:
        """Return the table's cells."""
        bound = f"{'≤' if self.at_most else '≥'} {self.bound:g}{self.unit}"
        return [
            self.name,
            _number(median(self.values)) + self.unit,
            _range(self.values),
            bound,
            "yes" if self.holds else "NO",
        ]


@dataclass(slots=True)
class Figure:
    """One measurement: variants that took turns."""

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ratio(self, over: str, under: str, bound: float) -> None:
        """Ask that `over` ÷ `under` of the same round is at least `bound`."""
        pairs = zip(self.values[over], self.values[under], strict=True)
        self.checks.append(Check(f"{over} ÷ {under}", [a / b for a, b in pairs], bound))

    def text(self) -> str:
        """Return it as Markdown."""
        parts = [f"### {self.title}\n"]
        if self.values:
            rows = [[name, _number(median(found)), _range(found)] for name, found in self.values.items()]
            parts.append(_table(["variant", self.unit, "[min–max]"], rows))
        if self.checks:
            rows = [check.row() for check in self.checks]
            parts.append(_table(["asked", "median", "[min–max]", "target", "met"], rows))
        parts += [f"{note}\n" for note in self.notes]
        return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _range(values: Sequence[float]) -> str:
    return f"[{_number(min(values))}–{_number(max(values))}]"


def _number(value: float) -> str:
    if abs(value) >= 100:  # noqa: PLR2004 (from there on fractions are noise)
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"  # noqa: PLR2004
