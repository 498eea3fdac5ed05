"""The round that is being labelled: its pictures, its marks and whether it is submitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hero_engine.config.prompts import ONE_PROMPT, PromptPlan
from hero_engine.config.settings import NoiseSettings
from hero_engine.core.errors import HeroError
from hero_engine.core.labels import Mark
from hero_engine.core.sanitize import sanitized
from hero_engine.policy.noise_origins import Origin, mixed_by_prompt
from hero_engine.storage.foreign_pictures import input_path
from hero_engine.storage.journal import Journal
from hero_engine.storage.png import png_size
from hero_tui.session.earlier_rounds import EarlierRounds
from hero_tui.session.label_session import Kind, LabelSession, NotRecorded
from hero_tui.session.label_style import LabelStyle
from hero_tui.session.noise_tags import NoiseTag, commonest

SOURCE = "person"
"""Source of the labels in the journal."""

FIRST_GOOD = "first good"
"""Source of a best that was chosen by default."""


class LabellingRound:
    """One round's pictures and marks; every change is in the journal before a method returns.

    `pictures` maps the index of a ready picture to its PNG. `best_wanted`: False in a blind
    comparison, where no picture is the best. A change that cannot be written (the disk is full)
    does not happen; `say` shows why.
    """

    def __init__(self, journal: Journal, run_dir: Path, *, best_wanted: bool = True) -> None:
        self._journal = journal
        self.best_wanted = best_wanted
        self._run_dir = run_dir
        self._source = SOURCE
        self.say: Callable[[str], None] = lambda text: None
        self.round = -1
        self.count = 0
        self.pictures: dict[int, Path] = {}
        self.session = LabelSession(0, self._record)
        self.submitted = False
        self._best_required: frozenset[int] = frozenset()
        self._plan = ONE_PROMPT
        self._earlier: EarlierRounds | None = None
        self._suggested: dict[int, bool] = {}
        self._judge = ""
        self._prompts = self._short_prompts = ONE_PROMPT.prompts
        self.origins: Sequence[Origin] = ()
        self.order: list[int] = []
        self.near_copies: frozenset[int] = frozenset()
        self.usual_kind = NoiseTag.FRESH

    def input_picture(self, image: int) -> Path | None:
        """The picture that an editing model changed into this one, if the run has any."""
        inputs, kind = self._plan.images, self._plan.kinds[self.groups[image]]
        path = input_path(self._run_dir, inputs.index(kind.image) if inputs else 0)
        return path if path.exists() else None

    def prompt_alone(self, image: int) -> str:
        """The picture's prompt, without its size; empty where it is not known."""
        return self._plan.kinds[self.groups[image]].prompt

    def open_round(
        self,
        round: int,
        count: int,
        noise: NoiseSettings | None = None,
        plan: PromptPlan = ONE_PROMPT,
    ) -> None:
        """Open a round with its marks from the journal.

        noise: the run's settings, for the tags. plan: the run's prompts.
        """
        self.round, self.count, self._prompts = round, count, plan.names
        self._plan, self._short_prompts = plan, plan.short_names
        groups = plan.groups(round, count)
        if self._earlier is None or (count, plan) != self._earlier.rounds_of:
            self._earlier = EarlierRounds(self._journal, count, plan)
        self.origins = self._earlier.origins(round, noise)
        self.order = mixed_by_prompt(self.origins, groups)
        self.tag_copies(frozenset())
        history = self._journal.history(round)
        self.session = LabelSession.resumed(count, self._record, history, groups)
        self.submitted = self._journal.submitted(round)
        unnamed = self._earlier.groups_without_best(round)
        self._best_required = unnamed if self.best_wanted else frozenset()
        self.pictures, self._suggested = {}, {}
        for index, path in self._journal.images(round).items():
            self.add(index, self._run_dir / path)

    def add(self, index: int, path: Path) -> None:
        """A picture became ready.

        An index beyond the batch is refused: no mark could ever reach it.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"image {index} in a round of {self.count}")
        self.pictures[index] = path

    def prompt_of(self, image: int) -> str:
        """The picture's prompt; empty where all have one."""
        return self._one_of(self._prompts, image)

    def short_prompt(self, image: int) -> str:
        """What tells the picture's prompt from the others; empty where all have one."""
        return self._one_of(self._short_prompts, image)

    def _one_of(self, texts: Sequence[str], image: int) -> str:
        return sanitized(texts[self.session.marks.groups[image]]) if len(texts) > 1 else ""

    def ready(self, images: Sequence[int]) -> list[int]:
        """Those of the images that are ready to be labelled."""
        return [image for image in images if image in self.pictures]

    def open(self, images: Sequence[int]) -> list[int]:
        """Those of the images that are ready and not on a committed page."""
        return [image for image in self.ready(images) if image not in self.session.marks.committed]

    @property
    def has_unlabelled(self) -> bool:
        """Whether a picture waits for the person."""
        return not self.submitted and bool(self.open(range(self.count)))

    @property
    def marked(self) -> int:
        """Pictures of the round that have a label."""
        return self.count - self.session.marks.labels.count(None) if self.count else 0

    def style_of(self, image: int) -> LabelStyle:
        """Style of the picture's caption."""
        if image not in self.pictures:
            return LabelStyle.PENDING
        if image in self.session.marks.bests:
            return LabelStyle.BEST
        if image in self.session.marks.skipped:
            return LabelStyle.SKIPPED
        label = self.session.label(image)
        if label is None:
            return self._open_style(image)
        return LabelStyle.GOOD if label else LabelStyle.BAD

    def _open_style(self, image: int) -> LabelStyle:
        """Of a picture without a label: a suggestion is not drawn as a label is."""
        suggested = self._suggested.get(image)
        if suggested is None:
            return LabelStyle.OPEN
        return LabelStyle.SUGGESTED_GOOD if suggested else LabelStyle.SUGGESTED_BAD

    def suggest(self, judge: str, labels: Sequence[bool | None]) -> int:
        """Show a judge's labels as suggestions; returns how many are good."""
        self._judge = judge
        self._suggested = {i: label for i, label in enumerate(labels) if label is not None}
        return sum(self._suggested.values())

    def take_suggestions(self, images: Sequence[int]) -> tuple[int, ...]:
        """Mark those of the images good that are suggested and have no label; the judge is their
        source. One step.
        """
        skipped = self.session.marks.skipped
        wanted = [
            image
            for image in images
            if self._suggested.get(image) and self.session.label(image) is None
            if image not in skipped
        ]
        self._source = self._judge
        try:
            return self.session.mark_all(wanted, good=True) if wanted else ()
        finally:
            self._source = SOURCE

    def tag_copies(self, images: frozenset[int]) -> None:
        """These pictures repeat the best."""
        self.near_copies = images
        self.usual_kind = commonest([self.kind_of(image) for image in range(self.count)])

    def kind_of(self, image: int) -> NoiseTag:
        """Whether the picture's noise lies near an earlier good one's, or it repeats the best."""
        if image in self.near_copies:
            return NoiseTag.COPY
        guided = image < len(self.origins) and self.origins[image] != "fresh"
        return NoiseTag.GUIDED if guided else NoiseTag.FRESH

    def tag_of(self, image: int) -> NoiseTag:
        """The picture's kind, where it is not the commonest one of the round."""
        kind = self.kind_of(image)
        return NoiseTag.NONE if kind is self.usual_kind else kind

    @property
    def guided(self) -> bool:
        """Whether any picture's noise lies near an earlier good one's."""
        return any(origin != "fresh" for origin in self.origins)

    def earlier_bests(self) -> dict[int, Path]:
        """Each prompt's picture that became its best last, before this round."""
        return {} if self._earlier is None else self._earlier.bests(self.round)

    def first_pictures(self) -> Mapping[int, Sequence[Path]]:
        """Each prompt's pictures of the first round that has it, without the best one."""
        return {} if self._earlier is None else self._earlier.first_pictures(self.round)

    def origins_in(self, round: int, noise: NoiseSettings | None) -> Sequence[Origin] | None:
        """The origins of the noises of a round of this run; None where they are not known."""
        if noise is None or self._earlier is None:
            return None
        return self._earlier.origins(round, noise)

    @property
    def groups(self) -> tuple[int, ...]:
        """The number of each picture's prompt."""
        return self._plan.groups(self.round, self.count)

    def described(self, images: Sequence[int], name_of: Callable[[int], str]) -> str:
        """The labels of these pictures, in a few words."""
        if len(images) != 1:
            return f"{len(images)} pictures changed."
        words = self.style_of(images[0]).words or "not labelled"
        return f"{name_of(images[0])} is {words} again."

    @property
    def aspect(self) -> float:
        """Width / height of a box for the round's pictures; 1.0 until there is one."""
        if self._plan.sizes:
            widths, heights = zip(*self._plan.sizes, strict=True)
            return float(max(widths) / max(heights))
        return next((each for each in map(self.aspect_of, self.pictures) if each), 1.0)

    def aspect_of(self, image: int) -> float | None:
        """Width / height of a picture; None if it cannot be read."""
        with suppress(OSError, ValueError, ZeroDivisionError):
            width, height = png_size(self.pictures[image])
            return width / height
        return None

    @property
    def best_missing(self) -> bool:
        """Whether a prompt has goods, but no best picture, named now or earlier."""
        return bool(self._assumed_bests())

    def _assumed_bests(self) -> tuple[int, ...]:
        return self.session.marks.replayed.assumed_bests(self._best_required)

    def submit(self) -> None:
        """Submit the round. Pictures that stand in as bests are marked so before."""
        if assumed := self._assumed_bests():
            self._source = FIRST_GOOD
            named = self.session.name_bests(assumed)
            self._source = SOURCE
            if not named:
                return
        try:
            self._journal.submit(self.round)
        except HeroError as error:
            self.say(f"Not submitted: {error.message}")
            return
        self.submitted = True

    def _record(self, marks: Sequence[Mark], kind: Kind) -> None:
        try:
            self._journal.mark(self.round, marks, source=self._source, kind=kind)
        except HeroError as error:
            self.say(f"Not marked: {error.message}")
            raise NotRecorded from error
