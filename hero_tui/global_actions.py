"""Input on every screen: undo and redo, help, charts, gallery, theme; pastes are dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual import events

from hero_engine.config.settings import NoiseSettings
from hero_engine.storage.journal import Journal
from hero_tui.base_app import BaseApp
from hero_tui.keyboard import keymap
from hero_tui.screens.compare_screen import CompareScreen
from hero_tui.screens.gallery_screen import GalleryScreen
from hero_tui.screens.help_screen import HelpScreen
from hero_tui.screens.labelling_screen import LabellingScreen
from hero_tui.screens.marking_screen import FINAL
from hero_tui.screens.progress_screen import ProgressScreen
from hero_tui.screens.summary_screen import SummaryScreen
from hero_tui.screens.terminal_pictures import TerminalPictures
from hero_tui.screens.zoom_screen import ZoomScreen
from hero_tui.session.labelling_round import LabellingRound
from hero_tui.session.past_rounds import fixed_noise_rounds, past_rounds
from hero_tui.session.paste_guard import PasteGuard
from hero_tui.session.round_summary import round_counts
from hero_tui.session.run_state import RunState
from hero_tui.widgets.upload_queue import UploadQueue


class GlobalActions(BaseApp, inherit_bindings=False):
    """The actions of those keys, on the labelling screen of a run."""

    state: RunState
    labelling_round: LabellingRound
    labelling: LabellingScreen
    uploads: UploadQueue
    pictures: TerminalPictures
    run_dir: Path
    journal: Journal
    blind: bool
    noise: NoiseSettings | None
    pasted: PasteGuard

    async def on_event(self, event: events.Event) -> None:
        """Drop keys that no person typed; note when a button of the mouse goes down."""
        if isinstance(event, events.MouseDown):
            self.labelling.raising.pressed()
        if isinstance(event, events.Key) and self.pasted.drops(event):
            event.stop()
            return
        await super().on_event(event)

    def on_app_focus(self) -> None:
        """The window got the focus."""
        self.labelling.raising.focused()

    def on_app_blur(self) -> None:
        """The window lost the focus."""
        self.labelling.raising.left()

    def paste_taken_back(self) -> None:
        self.uncover(self.labelling)
        self.labelling.reopen()
        self.labelling.show_touched(())
        self.labelling.say("Keys that came too fast to be typed were ignored. Press them again.")

    def action_undo(self) -> None:
        """Undo the last step, on whichever page it was."""
        self._step_in_history(self.labelling_round.session.undo, "Undo", "Nothing to undo.")

    def action_redo(self) -> None:
        """Redo what was undone last."""
        self._step_in_history(self.labelling_round.session.redo, "Redo", "Nothing to redo.")

    def _step_in_history(
        self, step: Callable[[], tuple[int, ...] | None], name: str, nothing: str
    ) -> None:
        """Undo or redo, and show the pictures it touched."""
        if self.labelling_round.submitted:
            self.labelling.say(FINAL)
            return
        self.labelling.reopen()
        touched = step()
        if touched is None:
            self.labelling.say(nothing)
        elif touched:
            described = self.labelling_round.described(touched, self.labelling.name_of)
            self.labelling.say(f"{name}: {described}")
            for screen in self.screen_stack:
                if isinstance(screen, LabellingScreen | ZoomScreen | CompareScreen):
                    screen.show_touched(touched)

    def action_help(self) -> None:
        """All keys."""
        place = getattr(self.screen, "place", keymap.LETTERS)
        keys = self.preferences.keymap
        if len(self.state.plan) < 2:
            keys = keys.without(keymap.PROMPT_ACTIONS)
        self.toggle(HelpScreen(keys, place, self.state, blind=self.blind))

    def action_progress(self) -> None:
        """Charts of the run so far."""
        self.toggle(ProgressScreen(self.preferences.keymap, self.state))

    def action_gallery(self) -> None:
        """Past rounds, and what training changed."""
        batch = self.state.opened.batch if self.state.opened else 0
        found = past_rounds(self.journal, self.run_dir, batch, self.state.plan)
        keys, cell = self.preferences.keymap, self.labelling.cell
        self.toggle(GalleryScreen(found, self.uploads, keys, cell, self.state))

    def action_summary(self) -> None:
        """Summary of the last finished round."""
        opened, rounds = self.state.opened, self.state.rounds
        if opened is None or not rounds or self.blind:
            self.labelling.say("A summary follows the first finished round.")
            return
        batch, last = opened.batch, rounds[-1].round
        counts = [
            round_counts(
                self.journal,
                round,
                batch,
                self.labelling_round.origins_in(round, self.noise),
                self.state.plan,
            )
            for round in range(max(0, last - 1), last + 1)
        ]
        self.toggle(
            SummaryScreen(
                counts,
                lambda: fixed_noise_rounds(self.run_dir),
                self.uploads,
                self.preferences.keymap,
                self.labelling.cell,
                self.state,
            )
        )

    def action_redraw(self) -> None:
        """Redraw everything, for a terminal on which another program wrote."""
        self.pictures.redraw()

    def action_theme(self) -> None:
        """Change to the next theme until the app ends."""
        name = self.next_theme()
        self.labelling.say(f'Theme {name}. To keep it: theme = "{name}" under [ui].')
