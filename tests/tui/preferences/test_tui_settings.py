"""Settings from files and variables: who wins, what is refused, and how `config show` tells it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hero_engine.config.layers import Layer, sources
from hero_engine.config.settings import Settings, setting_types
from hero_engine.core.errors import HeroError
from hero_engine.core.xdg import config_folder, data_folder
from hero_engine.storage.run_folder import runs_root
from hero_tui.cli import run_command
from hero_tui.commands.shared_options import UPDATES
from hero_tui.output_streams import talk_once
from hero_tui.preferences.settings_sources import (
    VARIABLES,
    choose,
    layers,
    parsed,
    user_file,
)
from hero_tui.preferences.ui_preferences import read_preferences


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a folder to start hero in, without settings."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def user(text: str) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(text, "utf-8")


def project(text: str) -> None:
    Path("hero.toml").write_text(text, "utf-8")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    assert run_command(["config", "show", *arguments, "--json"]) == 0
    found: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)
    for name, row in found.items():
        assert row.pop("help") or name.startswith("keys.")
    return found


def test_the_strongest_place_wins_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One setting more is said at each level, and all of them at every level below."""
    steps = "batch = {0}\nseed = {0}\nminibatch = {0}\n[sampler]\nsteps = {0}\n"
    user(steps.format(1))
    project("batch = 2\nseed = 2\n[sampler]\nsteps = 2")
    monkeypatch.setenv("HERO_SEED", "3")
    monkeypatch.setenv("HERO_SAMPLER_STEPS", "3")
    told = shown(capsys, "--task", "hands", "--set", "sampler.steps=4")
    assert told["sampler.steps"] == {"value": 4, "from": "the command line"}
    assert told["seed"] == {"value": 3, "from": "HERO_SEED"}
    assert told["batch"] == {"value": 2, "from": "hero.toml"}
    assert told["microbatch"] == {"value": 1, "from": str(user_file())}
    assert told["labels"] == {"value": 512, "from": "task hands"}
    assert told["lora.rank"] == {"value": 16, "from": "preset embedded"}
    assert told["noise.best_image_ratio"] == {"value": 0.5, "from": "default"}
    assert told["task"]["from"] == "the command line"
    assert told.keys() >= {*setting_types(), "runs", "ui.graphics"}


def test_config_show_prints_what_a_run_gets(capsys: pytest.CaptureFixture[str]) -> None:
    project('task = "mountain"\npreset = "paper"\nupdate = "forward"\nddpo.betas = [0.5, 0.6]')
    task, settings = choose(layers(), {})
    assert (task.name, settings.prompt) == ("mountain", task.prompt)
    assert (settings.preset, settings.update) == ("paper", "forward")
    assert (settings.ddpo.betas, settings.ddpo.clip_range) == ((0.5, 0.6), 1e-4)
    told = shown(capsys)
    assert told["ddpo.betas"] == {"value": [0.5, 0.6], "from": "hero.toml"}
    assert told["preset"] == {"value": "paper", "from": "hero.toml"}


def test_a_kind_of_model_has_its_own_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Over the preset "paper", and under whatever else is said; found without the weights."""
    Path("sd3").mkdir()
    Path("sd3/model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    _, settings = choose([], {"task": "hands", "model": "sd3", "sampler": {"steps": 9}})
    assert (settings.sampler.steps, settings.sampler.eta) == (9, 0.5)
    assert (settings.preset, settings.model) == ("paper", str(Path("sd3").absolute()))
    told = shown(capsys, "--task", "hands", "--model", "sd3", "--set", "sampler.steps=9")
    assert told["sampler.eta"] == {"value": 0.5, "from": "the kind of model"}
    assert told["sampler.steps"] == {"value": 9, "from": "the command line"}


def test_without_a_task_the_rest_is_shown_and_no_run_begins(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shown(capsys)["task"] == {"value": "", "from": "not named yet"}
    with pytest.raises(HeroError, match="no task is named: hero run TASK"):
        choose(layers(), {})


@pytest.mark.parametrize("name", setting_types())
def test_every_setting_has_a_variable_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "HERO_" + name.upper().replace(".", "_")
    assert VARIABLES[variable] == name
    value = {"task": "hands", "model": "embedded"}.get(name)
    shipped: object = Settings()
    for part in name.split("."):
        shipped = getattr(shipped, part)
    text = value or (json.dumps(shipped) if shipped != "" else "x")
    found = layers({variable: text, "HOME": "/"})
    assert sources(found) == {name: variable}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("sampler.steps", "20", 20),
        ("sampler.eta", "1e-3", 0.001),
        ("lora.targets", '["to_q"]', ["to_q"]),
        ("prompt", "1 hand", "1 hand"),
        ("prompt", "5", "5"),
        ("prompt", '"5"', "5"),
        ("prompt", "true", "true"),
        ("update", "forward", "forward"),
        ("batch", "[" * 10_000, "[" * 10_000),
    ],
)
def test_a_text_is_a_toml_value_or_itself(name: str, text: str, value: object) -> None:
    assert parsed(name, text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("speed = 1", "hero.toml: unknown setting 'speed'; did you mean 'seed'?"),
        ("[sampler]\nstep = 1", "hero.toml: unknown setting 'sampler.step'; did you mean 'sampler"),
        ("[sampler]\nsteps = 0", "hero.toml: setting sampler.steps is 0; allowed is a whole"),
        ("sampler = 1", "hero.toml: setting 'sampler' must be a table, not 1"),
        (
            "[ui]\ngraphic = 'kitty'",
            "hero.toml: unknown setting 'ui.graphic'; did you mean 'ui.gra",
        ),
        ("[ui]\ngraphics = 'vga'", "hero.toml: setting ui.graphics is 'vga'; allowed is one of"),
        ("ui = 5", "hero.toml: setting 'ui' must be a table, not 5"),
        ("keys = 5", "hero.toml: setting 'keys' must be a table, not 5"),
        ("runs = 5", "hero.toml: setting runs is 5; allowed is a folder's path"),
        ("batch = = 1", "hero.toml is not valid TOML: "),
        ("a = " + "[" * 10_000, "hero.toml is not valid TOML: "),
    ],
)
def test_a_mistake_names_its_place_and_what_was_meant(text: str, said: str) -> None:
    project(text)
    with pytest.raises(HeroError) as refused:
        layers()
    assert refused.value.message.startswith(said)
    assert (refused.value.exit_code, "\n" in refused.value.message) == (2, False)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("HERO_STEPS", "1", "HERO_STEPS is no setting; did you mean 'HERO_"),
        (
            "HERO_SAMPLER_STEP",
            "1",
            "HERO_SAMPLER_STEP is no setting; did you mean 'HERO_SAMPLER_ST",
        ),
        ("HERO_BATCH", "many", "HERO_BATCH: setting batch is 'many'; allowed is a whole number"),
        ("HERO_UI_GRAPHICS", "vga", "HERO_UI_GRAPHICS: setting ui.graphics is 'vga'"),
    ],
)
def test_a_mistake_in_a_variable_names_it(variable: str, text: str, said: str) -> None:
    with pytest.raises(HeroError) as refused:
        layers({variable: text})
    assert refused.value.message.startswith(said)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary()
    | st.dictionaries(
        st.sampled_from(["batch", "sampler", "ui", "keys", "runs", "task", "x"]),
        st.recursive(
            st.text() | st.integers(0, 9) | st.booleans(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=3,
        ),
    ).map(lambda table: tomli_w.dumps(table).encode())
)
def test_any_file_says_something_or_is_refused_in_one_line(content: bytes) -> None:
    Path("hero.toml").write_bytes(content)
    try:
        layers({})
    except HeroError as error:
        assert error.message.startswith("hero.toml") and error.exit_code == 2
        assert "\n" not in error.message


def test_variables_of_others_and_empty_ones_say_nothing() -> None:
    assert layers({"HEROES": "1", "hero_batch": "1", "HERO_BATCH": "", "HERO_DEBUG": "1"}) == []


def test_the_apps_preferences_come_from_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    user('[ui]\ngraphics = "sixel"\n[keys]\nundo = "f5"\nhelp = "f9"')
    project('[keys]\nundo = "f7"')
    got = read_preferences()
    keys = {action.id: action.keys for action in got.keymap.actions}
    assert (got.ui.graphics, keys["undo"], keys["help"]) == ("sixel", ("f7",), ("f9",))
    monkeypatch.setenv("HERO_UI_GRAPHICS", "symbols")
    assert read_preferences().ui.graphics == "symbols"


def test_the_folder_of_runs_is_a_setting_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERO_RUNS", "")
    assert runs_root() == place / "data/hero/runs"
    assert shown(capsys)["runs"] == {"value": str(place / "data/hero/runs"), "from": "default"}
    user('runs = "~/r"')
    assert run_command(["status"]) == 4
    assert f"there is no run in {place}/home/r;" in capsys.readouterr().err
    assert shown(capsys)["runs"]["value"] == str(place / "home/r")


def test_folders_follow_xdg_where_it_is_absolute(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (config_folder(), data_folder()) == (place / "config/hero", place / "data/hero")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert config_folder() == place / "home/.config/hero"
    assert data_folder() == place / "home/.local/share/hero"


def test_config_path_says_which_files_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    project("")
    assert run_command(["config", "path"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"user     {user_file()}  (does not exist)"
    assert second == f"project  {Path('hero.toml').absolute()}"


def test_a_later_layer_is_merged_into_tables_not_over_them() -> None:
    low = Layer("low", {"task": "hands", "sampler": {"steps": 2, "eta": 0.1}})
    high = Layer("high", {"sampler": {"steps": 3}})
    _, settings = choose([low, high], {})
    assert (settings.sampler.steps, settings.sampler.eta) == (3, 0.1)
    assert sources([low, high])["sampler.steps"] == "high"


def test_an_old_name_is_read_and_its_new_name_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk_once.cache_clear()
    project("[forward]\npull = 0.5\n")
    monkeypatch.setenv("HERO_NOISE_BEST_SHARE", "0.25")
    told = shown(capsys, "--task", "hands", "--set", "unlabelled.pictures=8")
    assert told["forward.kl_weight"] == {"value": 0.5, "from": "hero.toml"}
    assert told["noise.best_image_ratio"] == {"value": 0.25, "from": "HERO_NOISE_BEST_SHARE"}
    assert told["self_training.images"] == {"value": 8, "from": "the command line"}


@pytest.mark.parametrize(
    ("arguments", "file", "variable", "line"),
    [
        (
            ("--set", "unlabelled.pictures=8"),
            "",
            "",
            "--set unlabelled.pictures=8: unlabelled.pictures is now self_training.images",
        ),
        ((), "[forward]\npull = 0.5\n", "", "hero.toml: forward.pull is now forward.kl_weight"),
        ((), "", "HERO_UI_GRACE", "HERO_UI_GRACE: use HERO_UI_UNDO_SECONDS"),
    ],
)
def test_the_line_is_printed_once_on_stderr(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    file: str,
    variable: str,
    line: str,
) -> None:
    talk_once.cache_clear()
    project(file)
    if variable:
        monkeypatch.setenv(variable, "1")
    for _ in range(2):
        assert run_command(["config", "show", "--task", "hands", *arguments]) == 0
    assert capsys.readouterr().err.splitlines() == [f"hero: {line}"]


def test_the_help_names_every_update() -> None:
    assert UPDATES.split("|") == list(get_args(get_type_hints(Settings)["update"]))
