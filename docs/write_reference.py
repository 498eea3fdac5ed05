"""Write docs/configuration.md, cli.md, models.md and the table of keys.md from what they describe.

    python docs/write_reference.py

A test compares the pages with what this would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from hero_engine.config.old_names import NEW_NAMES, NEW_VALUES
from hero_engine.config.presets import (
    EMBEDDED,
    EMBEDDED_ON_TRAJECTORIES,
    JOINT,
    LARGE,
    LARGEST,
    PLUS,
)
from hero_engine.config.settings import Settings, declared
from hero_engine.config.validation import flat
from hero_engine.models.pipeline_facts import FACTS
from hero_tui.cli import app
from hero_tui.commands.help_text import EXIT_CODES, SUMMARY, VARIABLES
from hero_tui.keyboard.keymap import Keymap
from hero_tui.preferences.settings_sources import RUNS_SENTENCE, UiSettings

FOLDER = Path(__file__).parent
KEY_TABLE = re.compile(r"(?m)^\| where \|.*\n(?:\|.*\n)+")
MADE = "<!-- Written by `python docs/write_reference.py`; change the source, not this page. -->"

CONFIGURATION = f"""\
# Settings

{MADE}

A setting has one name everywhere. For `sampler.steps`:

| where | write | precedence |
| --- | --- | --- |
| command line | `--set sampler.steps=20`, or an option such as `--batch 16` | strongest |
| environment | `HERO_SAMPLER_STEPS=20` | |
| `hero.toml` in the current folder | `steps = 20` under `[sampler]` | |
| `~/.config/hero/config.toml` | the same | |
| task, kind of model, preset, default | | weakest |

`hero config show` prints every setting with its value and where the value comes from; `hero config
path` prints the paths of the two files. Settings are frozen in `run.toml` when a run starts: files
and variables do not change a run that exists.

```toml
# hero.toml
task = "hands"
batch = 32

[sampler]
steps = 30

[ui]
keyboard = "azerty"

[keys]
commit = "ctrl+g"
```

An unknown name or a value out of range ends the command with exit code 2 and a line that names the
file, the setting and what is allowed. The keys of `[keys]` are in [keys.md](keys.md).
"""


MODELS = f"""\
# Models and LoRA files

{MADE}

## What opens

A folder in diffusers' layout, a hub id, a hub cache's folder of a model, a checkpoint
(`.safetensors`), or a network alone (`.safetensors`, `.gguf`) beside a base: `--set
model_config=FOLDER`. Fewer files are enough where diffusers can do without: fp16 weights alone,
Stable Diffusion 3 without T5, no feature extractor, no safety checker.

- Every weight comes from a file, or the model is refused with the file and the key. `model.toml`
  in the run keeps a fingerprint of each component, and `hero resume` refuses another.
- A single file says what it is by markers: `v_pred` and `ztsnr`, `modelspec.prediction_type`.
  Scaled fp8 weights are multiplied by their scales. EDM's markers (`edm_mean`,
  `edm_vpred.sigma_max`) are refused.
- The scheduler's noise levels and prediction type are taken over exactly, or the model is
  refused. DDIM or a flow's step samples in place of its solver, and `hero` says so.
- `hero` tries each model when it opens it: its own steps without noise must end in the pipeline's
  latents.

## What a LoRA is written for

`hero export RUN --out FILE.safetensors --for PROGRAM`. The names are those of ComfyUI
(comfy/lora.py), A1111 and Forge (extensions-builtin) and kohya-ss/sd-scripts. A file's metadata
has modelspec's architecture and, where sd-scripts has one, `ss_base_model_version`: A1111, Forge
and LoRA managers sort by them.

"""
LORA_IN = """
Any other text-to-image pipeline of diffusers opens with default settings; `hero` says so, and
writes `--for diffusers`.

## What a run can start from

`--init-lora FILE`, a run's folder, or the folder that peft or diffusers wrote: files of
diffusers, peft (alphas from `adapter_config.json`), attention processors (ddpo-pytorch, d3po),
kohya-ss/sd-scripts (for every row with kohya names above), OneTrainer (`lora_transformer_…`),
SimpleTuner (`lycoris_…`), ComfyUI (`diffusion_model.…`), and what diffusers' own converters know.
Ranks and alphas may differ by layer, and a LoCon may have a middle convolution. Text encoders'
weights are left out, with a notice. NaN is refused; so are DoRA, LoHa, LoKr, OFT, IA3, GLoRA and
full-weight differences, by name.
"""


def models() -> str:
    """docs/models.md: each row of the table of pipelines, and the files that programs read."""
    rows = [
        f"| {each.title} | {_reads('comfyui', each.comfyui)} | {_reads('a1111', each.a1111)} "
        f"| {'yes' if each.kohya else 'no'} |"
        for each in FACTS.values()
    ]
    head = ["| model | ComfyUI | A1111, Forge | kohya names |", "| --- | --- | --- | --- |"]
    return MODELS + "\n".join([*head, *rows, LORA_IN])


def _reads(program: str, reads: object) -> str:
    return f"`--for {program}`" if reads else "no"


def configuration() -> str:
    """docs/configuration.md."""
    parts = [CONFIGURATION, *_sections(), *_presets(), _old_names()]
    return "\n".join(parts)


def _sections() -> Iterator[str]:
    hints = get_type_hints(Settings)
    top = [(name, each) for name, each in declared(Settings) if "." not in name]
    yield _section("Run", Settings.__doc__, top)
    for name, kind in hints.items():
        if is_dataclass(kind):
            yield _section(f"`[{name}]`", kind.__doc__, list(declared(kind, f"{name}.")))
    yield _section("`[ui]`", UiSettings.__doc__, list(declared(UiSettings, "ui.")))
    yield f"## Folder of runs\n\n`runs` (also `HERO_RUNS`): {RUNS_SENTENCE[0].lower()}" + (
        f"{RUNS_SENTENCE[1:]} Default: `~/.local/share/hero/runs`.\n"
    )


def _section(title: str, says: str | None, rows: list[tuple[str, Any]]) -> str:
    """A heading and a table."""
    kinds = {name: _hint(name) for name, _ in rows}
    lines = [
        f"| `{name}` | {_code(each.default)} | {_allowed(kinds[name], each.metadata)} "
        f"| {_cell(each.metadata['sentence'])} |"
        for name, each in rows
    ]
    head = "| setting | default | allowed | |\n| --- | --- | --- | --- |"
    return f"## {title}\n\n{says}\n\n{head}\n" + "\n".join(lines) + "\n"


def _hint(name: str) -> Any:
    kind: Any = UiSettings if name.startswith("ui.") else Settings
    for part in name.removeprefix("ui.").split("."):
        kind = get_type_hints(kind)[part]
    return kind


def _allowed(hint: Any, limits: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(hint))
    if "low" in limits:
        start = "above " if limits["above"] else ""
        return f"{start}{_number(limits['low'])} to {_number(limits['high'])}"
    if hint is bool:
        return "`true`, `false`"
    return "text" if hint is str else "list"


def _number(value: float) -> str:
    whole = float(value).is_integer() and abs(value) < 1e10
    return f"{int(value):,}".replace(",", " ") if whole else f"{value:g}"


def _code(value: Any) -> str:
    """A value as TOML has it."""
    text = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
    return f"`{text.replace('(', '[').replace(')', ']')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _presets() -> Iterator[str]:
    yield (
        "## Presets\n\n`--preset` chooses one. Without it the embedded model has `embedded`, a"
        " model of 1.5 billion\nweights or more `large`, and any other model `paper`.\n\n`paper` is"
        " the defaults above, with Stable Diffusion 1.5.\n"
    )
    for title, values in (
        ("`embedded` sets:", EMBEDDED),
        ("`embedded` with `update` ddpo or d3po sets, over that:", EMBEDDED_ON_TRAJECTORIES),
        ("`hero+` sets, over `embedded` or `paper`:", PLUS),
        ("`large` sets:", LARGE),
        ("`large` for 5 billion weights or more sets, over that:", LARGEST),
        ("`joint` sets, over `embedded` or `paper`:", JOINT),
    ):
        rows = (f"| `{name}` | {_code(value)} |" for name, value in flat(values).items())
        yield f"{title}\n\n| setting | value |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def _old_names() -> str:
    rows = [f"| `{old}` | `{new}` |" for old, new in NEW_NAMES.items()]
    for name, values in NEW_VALUES.items():
        rows += [f"| `{name} = {old}` | `{name} = {new}` |" for old, new in values.items()]
    return (
        "## Old names\n\nNames of version 0.1.0 are still read, and a line on stderr gives the new"
        " one.\n\n| 0.1.0 | now |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    )


def cli() -> str:
    """docs/cli.md."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("hero", [], resilient_parsing=True)
    codes = "\n".join(f"| {int(code)} | {text} |" for code, text in EXIT_CODES.items())
    variables = "\n".join(f"| `{name}` | {text} |" for name, text in VARIABLES.items())
    return (
        f"# Commands\n\n{MADE}\n\n{SUMMARY}\n\n"
        "Data goes to stdout and messages go to stderr. RUN is the folder of a run, its name in\n"
        "the folder of runs, or the start of its name.\n\n"
        + "\n".join(_commands(group, context))
        + f"\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n{codes}\n"
        + f"\n## Environment\n\n| variable | meaning |\n| --- | --- |\n{variables}\n"
    )


def _commands(group: Any, context: Any) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inside = command.make_context(name, [], parent=context, resilient_parsing=True)
        if hasattr(command, "commands"):
            yield from _commands(command, inside)
        else:
            yield _command(command, inside)


def _command(command: Any, context: Any) -> str:
    """A command's sentence, examples, arguments and options."""
    first, *rest = re.split(r"\n\n", (command.help or "").replace("\b\n", "\b"))
    parts = [f"## {context.command_path}\n\n{first}\n"]
    for each in rest:
        if each.startswith("\b"):
            parts.append(f"```sh\n{each[1:].strip()}\n```\n")
        else:
            parts.append(" ".join(each.split()) + "\n")
    if rows := list(_options(command, context)):
        parts.append("| option | |\n| --- | --- |\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _options(command: Any, context: Any) -> Iterator[str]:
    """A table's row for each argument and option, without what differs by version of typer."""
    for each in command.get_params(context):
        name, text = each.get_help_record(context) or ("--help", "")
        if "--help" not in name:
            name, text = name.partition(" <")[0].strip(), text.partition("  [")[0].strip()
            number = isinstance(each.default, int) and not isinstance(each.default, bool)
            default = f" Default: {each.default}." if number else ""
            yield f"| `{_cell(name)}` | {_cell(text)}{default} |"


def keys() -> str:
    """docs/keys.md: its text as it is, with the table of the default keys."""
    page = FOLDER.joinpath("keys.md").read_text("utf-8")
    before, after = KEY_TABLE.split(page)
    return f"{before}{Keymap().markdown_table()}\n{after}"


PAGES = {"configuration.md": configuration, "cli.md": cli, "models.md": models, "keys.md": keys}


if __name__ == "__main__":
    for page, text in PAGES.items():
        FOLDER.joinpath(page).write_text(text(), "utf-8")
