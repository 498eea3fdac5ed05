"""How a label looks: shape, word and colour, any one of which is enough to tell it."""

from __future__ import annotations

from enum import Enum


class LabelStyle(Enum):
    """What a caption can say: (component, shape, word, theme colour)."""

    PENDING = ("pending", "", "", "faint")
    OPEN = ("open", "", "", "quiet")
    GOOD = ("good", "●", "good", "success")
    BEST = ("best", "★", "best", "warning")
    BAD = ("bad", "×", "bad", "quiet")
    SKIPPED = ("skipped", "–", "skip", "quiet")
    SUGGESTED_GOOD = ("suggested", "?", "maybe good", "quiet")
    SUGGESTED_BAD = ("suggested", "?", "maybe bad", "quiet")

    @property
    def component(self) -> str:
        """The component of the page whose style it has."""
        return f"caption--{self.value[0]}"

    @property
    def words(self) -> str:
        """Shape and word, or "" when there is no label."""
        return f"{self.value[1]} {self.value[2]}".strip()

    @property
    def brief(self) -> str:
        """The shape, and the word only where the shape is not enough."""
        return (
            f"?{self.value[2].split()[-1]}"
            if self.component.endswith("suggested")
            else self.value[1]
        )

    @property
    def colour(self) -> str:
        """The theme's colour for it."""
        return str(self.value[3])
