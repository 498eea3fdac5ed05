"""The home screen: tasks to start, runs to continue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingsMap
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Key, Resize
from textual.screen import Screen
from textual.widgets import Input, Static

from hero_engine.config.tasks import Task
from hero_engine.core.errors import HeroError
from hero_tui.graphics.grid_geometry import picture_box
from hero_tui.keyboard import keymap
from hero_tui.keyboard.keymap import Keymap
from hero_tui.keyboard.unknown_keys import said_of
from hero_tui.session.input_guards import NO_GUARDS, Guards
from hero_tui.session.known_runs import KnownRun, delete, known_runs, rename, write_note
from hero_tui.widgets.key_footer import KeyFooter
from hero_tui.widgets.message_wrap import shortened
from hero_tui.widgets.static_widgets import StaticWidget
from hero_tui.widgets.text_line import TextLine
from hero_tui.widgets.tile import Picture
from hero_tui.widgets.upload_queue import UploadQueue

POINTER = "▸"
TOO_SOON = "{home_open} came right as this screen opened. Press it again."
NO_RUN = "This line is a task: choose a run below."


@dataclass(frozen=True)
class HomeChoice:
    """What to do with a run, or with a task: its name or the run's folder."""

    deed: Literal["start", "resume", "evaluate", "export"]
    name: str


class HomeScreen(Screen[HomeChoice | None], StaticWidget, inherit_bindings=False):
    """Leaving gives what to do, or None to quit."""

    def __init__(
        self,
        tasks: Sequence[Task],
        uploads: UploadQueue,
        keys: Keymap,
        cell: tuple[int, int],
        runs: Callable[[], list[KnownRun]] = known_runs,
        guards: Guards = NO_GUARDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._guards, self._clock = guards, clock
        self._came_up = self._asked_at = clock()
        self._bindings = keys.bindings(keymap.HOME)
        self._keys, self._uploads, self._cell = keys, uploads, cell
        self._tasks, self._read_runs = tasks, runs
        self._runs = runs()
        self.at = len(tasks) if self._runs else 0
        self._entered: Callable[[KnownRun, str], object] | None = None
        self._deleting: KnownRun | None = None

    def compose(self) -> ComposeResult:
        """The list at the left, the best picture of the run at the right, a message, the keys."""
        with Horizontal(id="home"):
            yield Static(id="home-list")
            with Vertical(id="home-side"):
                yield Picture(id="home-picture")
                yield Static(id="home-details")
        yield TextLine(id="home-message")
        yield KeyFooter(self._keys.footer(keymap.HOME), id="keys")

    def on_resize(self, event: Resize) -> None:
        """Another size."""
        if event.size != self.app.size:
            event.prevent_default()
            return
        self.call_after_refresh(self.show)

    def use_cell(self, cell: tuple[int, int]) -> None:
        """A cell of the terminal has this size now, or pictures are drawn in another way."""
        self._cell = cell
        self.call_after_refresh(self.show)

    # -- the list --

    @property
    def run(self) -> KnownRun | None:
        """The chosen run; None on a task."""
        index = self.at - len(self._tasks)
        return self._runs[index] if 0 <= index < len(self._runs) else None

    def action_up(self) -> None:
        """The line above, around the end."""
        self._move(-1)

    def action_down(self) -> None:
        """The line below, around the end."""
        self._move(1)

    def _move(self, step: int) -> None:
        self.at = (self.at + step) % max(1, len(self._tasks) + len(self._runs))
        self.say("")
        self.show()

    def show(self) -> None:
        """The list, and the chosen run's best picture."""
        lines, chosen = self._lines()
        height = max(1, self.query_one("#home-list").size.height)
        first = max(0, min(chosen - height // 2, len(lines) - height))
        self.query_one("#home-list", Static).update(
            Content("\n").join(lines[first : first + height])
        )
        self._show_run()

    def _lines(self) -> tuple[list[Content], int]:
        """Every line, and which one is chosen."""
        lines, chosen = [Content.styled("Start a task", "bold $accent")], 0
        for index, task in enumerate(self._tasks):
            chosen = len(lines) if index == self.at else chosen
            lines.append(self._line(index, f"{task.name:<12}", f"good: {task.success}"))
        lines += [Content(""), Content.styled("Continue a run", "bold $accent")]
        for index, run in enumerate(self._runs, start=len(self._tasks)):
            chosen = len(lines) if index == self.at else chosen
            lines.append(self._line(index, f"{run.name:<20}", run.brief))
        if not self._runs:
            lines.append(Content.styled("  no run yet", "$quiet"))
        return lines, chosen

    def _line(self, index: int, name: str, words: str) -> Content:
        here = index == self.at
        pointer = f"{POINTER} " if here else "  "
        room = self.query_one("#home-list").size.width
        words = shortened(words, max(0, room - cell_len(pointer + name) - 1))
        line = Content.assemble(
            (f"{pointer}{name} ", "bold $accent" if here else ""), (words, "$quiet")
        )
        return line.truncate(room, ellipsis=True)

    def _show_run(self) -> None:
        picture, run = self.query_one("#home-picture", Picture), self.run
        side = self.query_one("#home-side").content_size
        box = picture_box(side.width, max(1, side.height - 5), self._cell)
        shows = run is not None and run.best is not None
        if picture.display and not shows and (pictures := getattr(self.app, "pictures", None)):
            pictures.page_changed()
        picture.display = shows
        picture.styles.width, picture.styles.height = box.columns, box.rows
        self._uploads.want(picture, None if run is None else run.best, box)
        self.query_one("#home-details", Static).update(Content(self._details()))

    def _details(self) -> str:
        """Of the run; or of the task, whole, where its line was too short."""
        if self.run is not None:
            return self.run.details
        if self.at < len(self._tasks):
            task = self._tasks[self.at]
            return f"“{task.prompt}”\ngood: {task.success}"
        return ""

    def say(self, text: str) -> None:
        """Show a message until the next one."""
        self.query_one("#home-message", TextLine).show(Content(text))

    # -- actions on a line --

    def action_open(self) -> None:
        """Start the task, or resume the run, unless Enter was meant for the shell before."""
        if self._clock() - self._came_up < self._guards.menu:
            self.say(self._keys.told(TOO_SOON))
        elif self.run is not None:
            self._do("resume")
        elif self.at < len(self._tasks):
            self.dismiss(HomeChoice("start", self._tasks[self.at].name))

    def action_evaluate(self) -> None:
        """Evaluate the run."""
        self._do("evaluate")

    def action_export(self) -> None:
        """Export the run's LoRA."""
        self._do("export")

    def _do(self, deed: Literal["resume", "evaluate", "export"]) -> None:
        run = self.run
        if run is None or run.problem:
            self.say(NO_RUN if run is None else run.problem)
        elif deed != "resume" and not run.rounds:
            self.say(f"{run.name} has not finished a round yet: resume it first.")
        elif deed == "resume" and run.finished:
            self.say(f"{run.name} is finished. For more: hero resume {run.name} --rounds 4")
        else:
            self.dismiss(HomeChoice(deed, str(run.path)))

    def action_redraw(self) -> None:
        """Redraw everything, for a terminal on which another program wrote."""
        if pictures := getattr(self.app, "pictures", None):
            pictures.redraw()

    def action_leave(self) -> None:
        """Quit."""
        self.dismiss(None)

    def action_rename(self) -> None:
        """Ask for another name."""
        if self.run is not None:
            self._ask("New name", self.run.name, rename)

    def action_note(self) -> None:
        """Ask for a line about the run."""
        if self.run is not None:
            self._ask("Note", self.run.note, write_note)

    def action_delete(self) -> None:
        """Ask, then delete the run."""
        if (run := self.run) is not None:
            self._deleting, self._asked_at = run, self._clock()
            self.say(f"Delete {run.name}, its pictures and checkpoints? y deletes it for good.")

    def on_key(self, event: Key) -> None:
        """Esc ends an entry; after the question only y deletes, any other key keeps the run."""
        if self._entered is not None and event.key == "escape":
            event.stop()
            self._close_entry()
            self.say("Nothing is changed.")
        elif self._deleting is not None:
            event.stop()
            run, self._deleting = self._deleting, None
            read = self._clock() - self._asked_at >= self._guards.page
            if event.character == "y" and not read:
                self.say(f"{run.name} is kept: y came too soon after the question. Press d again.")
            elif event.character == "y":
                self._change(lambda: delete(run), f"{run.name} is deleted.")
            else:
                self.say(f"{run.name} is kept.")

    def unknown_key(self, event: Key) -> None:
        """A key came that does nothing here."""
        if said := said_of(event, self._keys, at_home=True):
            self.say(said)

    def known_key(self) -> None:
        """A key came that does something, and says what follows."""

    # -- a line of text --

    def _ask(self, what: str, before: str, then: Callable[[KnownRun, str], object]) -> None:
        self._entered = then
        self.say(f"{what}: type it, then Enter. Esc keeps it as it is.")
        entry = Input(before, id="home-entry", compact=True)
        self.mount(entry, before="#home-message")
        self._bindings = self._keys_of_an_entry()
        entry.focus()

    def _keys_of_an_entry(self) -> BindingsMap:
        """While text is typed: quitting, by the keys that type nothing."""
        leave = (each for each in self._keys.actions if each.id == "home_leave")
        keys = [key for each in leave for key in each.keys if len(key) > 1 and key != "escape"]
        return BindingsMap(Binding(key, "leave", priority=True, show=False) for key in keys)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Do what the text was asked for."""
        run, then, text = self.run, self._entered, event.value
        self._close_entry()
        if run is not None and then is not None:
            self._change(lambda: then(run, text), "Done.")

    def _close_entry(self) -> None:
        self._entered = None
        self.query("#home-entry").remove()
        self._bindings = self._keys.bindings(keymap.HOME)

    def _change(self, change: Callable[[], object], done: str) -> None:
        """Make a change on the disk, and rebuild the list."""
        try:
            change()
        except (HeroError, OSError) as error:
            self.say(error.message if isinstance(error, HeroError) else str(error))
            return
        self._runs = self._read_runs()
        self.at = min(self.at, max(0, len(self._tasks) + len(self._runs) - 1))
        self.say(done)
        self.show()
