"""Tasks: a prompt, what counts as good, and a label budget. One TOML file each.

Your own task is such a file; `prompt` is the only key it needs. `prompts` is a list of several,
`prompts_file` a file with one a line; both, and `prompt`, may have wildcards: "{red|blue} bicycle".
`keep_aside` keeps some of them for measuring transfer. Paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from hero_engine.config.prompts import all_expanded, kept_aside, read_prompts, read_size
from hero_engine.config.toml_file import read_toml
from hero_engine.config.validation import nearest
from hero_engine.core.errors import HeroError, short
from hero_engine.core.sanitize import sanitized

if TYPE_CHECKING:
    from hero_engine.config.layers import Layer
    from hero_engine.config.settings import Settings

FOLDER = Path(__file__).parent
WHOLE_NUMBERS = ("labels", "batch", "keep_aside")
LISTS = ("prompts", "transfer_prompts")
ONE_OR_LIST = ("sizes", "image")
NAME_BYTES = 100
"""Longest name of a task: a folder's name has at most 255 bytes, and date and time follow."""


@dataclass(frozen=True)
class Task:
    """A task.

    prompts: all prompts of a task with several, `prompt` first; empty if there is one. sizes,
    image: as in the settings `sizes` and `sampler.image`; empty: those of the settings.
    success: what counts as good, in words. enhanced_prompt: a better prompt, to compare with
    labelling. judge: the task's name in the embedded judges, if they know it.
    judged_prompts: those of the task's file, which that judge labels; not prompts added to a run.
    wanted: the attributes that a success has, if not those of its subject. paper: labels and batch
    under the preset "paper".
    """

    name: str
    prompt: str
    title: str = ""
    success: str = "the image is what you want"
    labels: int = 512
    batch: int = 64
    transfer_prompts: tuple[str, ...] = ()
    judge: str | None = None
    paper: Mapping[str, int] = field(default_factory=dict)
    wanted: Mapping[str, str] = field(default_factory=dict)
    enhanced_prompt: str = ""
    prompts: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    image: tuple[str, ...] = ()
    judged_prompts: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Every prompt that the task names, each once."""
        every = (self.prompt, *self.prompts, *self.transfer_prompts, self.enhanced_prompt)
        return tuple(dict.fromkeys(filter(None, every)))

    def with_prompts(self, templates: Sequence[str], aside: int = 0) -> Task:
        """This task with the prompts of these templates, `aside` of them kept for transfer.

        HeroError for templates that are wrong, and where no prompt is left to train on.
        """
        prompts = all_expanded(templates)
        taught, kept = kept_aside(prompts, aside) if aside else (prompts, ())
        return replace(
            self,
            prompt=taught[0],
            prompts=taught if len(taught) > 1 else (),
            transfer_prompts=(*self.transfer_prompts, *kept),
        )


def task_of_prompt(task: Task, prompt: str) -> Task:
    """The task that says when a picture of one of a run's prompts is good.

    A shipped task where its prompt is this one, so that a run may mix several; else the run's own
    where its judge labels the prompt; else a shipped one that names it. HeroError, exit code 2, for
    a prompt that no judge knows.
    """
    if task.judge is not None and prompt == task.prompt:
        return task
    shipped = list_tasks()
    known = [each for each in shipped if each.prompt == prompt]
    known += [task] if task.judge is not None and prompt in task.judged_prompts else []
    known += [each for each in shipped if prompt in each.texts]
    if not known:
        raise HeroError(
            f"no judge knows the prompt {short(prompt)}: give its labels with --labels FILE.jsonl "
            "or a judge of your own, and evaluate it with --human"
        )
    return known[0]


def list_tasks() -> tuple[Task, ...]:
    """The tasks that ship, by name."""
    return tuple(read_task(path) for path in sorted(FOLDER.glob("*.toml")))


def known_tasks() -> tuple[str, ...]:
    """Names of the tasks that ship."""
    return tuple(path.stem for path in sorted(FOLDER.glob("*.toml")))


def nearest_task(name: str) -> str | None:
    """The shipped task with the most similar name, if one is similar enough."""
    return nearest(name, known_tasks(), 0.7)


def load_task(name_or_path: str) -> Task:
    """A shipped task by its name, or your own by the path of its TOML file.

    HeroError if there is none, or the file is not a task.
    """
    shipped = FOLDER / f"{name_or_path}.toml"
    if "/" not in name_or_path and shipped.is_file():
        return read_task(shipped)
    path = Path(name_or_path).expanduser()
    if path.suffix == ".toml" and path.is_file():
        return read_task(path)
    if path.suffix == ".toml" or "/" in name_or_path:
        raise HeroError(f"there is no task file {name_or_path}")
    near = nearest_task(name_or_path)
    meant = f"did you mean {near!r}" if near else f"there are {', '.join(known_tasks())}"
    raise HeroError(f"no task is called {short(name_or_path)}; {meant}, or give a TOML file")


def settings_for(
    task: Task,
    model: str,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    kind: Mapping[str, Any] | None = None,
    parameters: float = 0,
) -> Settings:
    """The settings of a run of this task: preset, kind of model, task, and `changes` over those.

    preset: by default "embedded" for the embedded model and "paper" for any other. kind: what
    the kind of model sets over the preset "paper", which is Stable Diffusion's. parameters: as in
    `layers_below`.
    HeroError for an unknown preset or setting, or a value out of range.
    """
    # `hero tasks` needs none of these
    from hero_engine.config.layers import Layer, merged
    from hero_engine.config.old_names import with_new_names
    from hero_engine.config.settings import Settings, with_changes

    said = Layer("changes", with_new_names(changes or {}))
    update = said.values.get("update")
    below = layers_below(task, model, preset, update=update, kind=kind or {}, parameters=parameters)
    return with_changes(Settings(), merged([*below, said]))


def layers_below(
    task: Task,
    model: str,
    preset: str | None,
    *,
    update: object,
    kind: Mapping[str, Any],
    parameters: float = 0,
) -> list[Layer]:
    """The layers below a person's own settings, the strongest last: see `settings_for`.

    parameters: weights of the model's network; 0: unknown. They choose preset "large".
    """
    from hero_engine.config.layers import Layer
    from hero_engine.config.presets import builds_on_paper, preset_for, preset_layers

    name = preset or preset_for(model, parameters)
    numbers = {"batch": task.batch, "labels": task.labels}
    if builds_on_paper(name, model):
        numbers |= task.paper
    if name == "large":
        del numbers["batch"]
    return [
        Layer("default", {"model": model}),
        Layer("follows the model", {"preset": name}),
        *preset_layers(name, model=model, update=update, kind=kind, parameters=parameters),
        Layer(f"task {task.name}", {"task": task.name, **prompts_of(task), **numbers}),
    ]


def prompts_of(task: Task) -> dict[str, Any]:
    """The settings of a task's prompts, sizes and input pictures."""
    found: dict[str, Any] = {"prompt": task.prompt, "prompts": [*task.prompts]}
    if task.sizes:
        found["sizes"] = [*task.sizes]
    if task.image:
        found["sampler"] = {"image": [*task.image]}
    return found


def read_task(path: Path) -> Task:
    """Read a task file. HeroError with the file and what is wrong in it."""
    table = read_toml(path)
    table.setdefault("name", path.stem)
    _check(path, table)
    templates, file = [*table.pop("prompts", ())], table.pop("prompts_file", None)
    if file is not None:
        templates += read_prompts(path.parent / file)
    templates = [table.pop("prompt"), *templates] if "prompt" in table else templates
    aside, transfer = table.pop("keep_aside", 0), tuple(table.pop("transfer_prompts", ()))
    sizes, images = (_listed(table.pop(name, ())) for name in ("sizes", "image"))
    try:
        for size in sizes:
            read_size(size)
        image = tuple(str(path.parent / Path(each).expanduser()) for each in images)
        task = Task(**table, prompt="", transfer_prompts=transfer, sizes=sizes, image=image)
        task = task.with_prompts(templates, aside)
        return replace(task, judged_prompts=task.texts if task.judge else ())
    except HeroError as error:
        raise HeroError(f"{path}: {error.message}") from error


def _check(path: Path, table: Mapping[str, Any]) -> None:
    known = {each.name for each in fields(Task)} | {"prompts_file", "keep_aside"}
    known -= {"judged_prompts"}
    for name, value in table.items():
        if name not in known:
            raise HeroError(
                f"{path}: unknown key {short(name)}; known are {', '.join(sorted(known))}"
            )
        if not _fits(name, value):
            raise HeroError(f"{path}: {name} = {short(value)} is not {_wanted(name)}")
    if not {"prompt", "prompts", "prompts_file"} & table.keys():
        raise HeroError(f'{path}: a task needs a line such as: prompt = "a red bicycle"')


def _listed(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _fits(name: str, value: object) -> bool:
    if name in WHOLE_NUMBERS:
        return isinstance(value, int) and not isinstance(value, bool) and value > 0
    if name in LISTS or (name in ONE_OR_LIST and isinstance(value, list)):
        return isinstance(value, list) and all(map(_is_line, value))
    if name == "paper":
        return isinstance(value, dict) and all(
            key in ("labels", "batch") and _fits(key, each) for key, each in value.items()
        )
    if name == "wanted":
        return isinstance(value, dict) and all(map(_is_line, (*value, *value.values())))
    if name == "name":  # it becomes a part of the run's folder
        return (
            _is_line(value)
            and "/" not in value
            and value not in (".", "..")
            and len(value.encode()) <= NAME_BYTES
        )
    return _is_line(value)


def _is_line(value: object) -> TypeGuard[str]:
    """Whether a value is one line of text without escape sequences."""
    return isinstance(value, str) and bool(value.strip()) and sanitized(value) == value


def _wanted(name: str) -> str:
    if name in WHOLE_NUMBERS:
        return "a whole number of at least 1"
    if name in LISTS:
        return "a list of texts, each one line"
    if name in ONE_OR_LIST:
        return "a text of one line, or a list of such"
    if name == "name":
        return "one line of text without '/', of at most 100 bytes, not . or .."
    if name == "wanted":
        return "a table of attributes, each with its value"
    return "a table of labels and batch" if name == "paper" else "one line of text"
