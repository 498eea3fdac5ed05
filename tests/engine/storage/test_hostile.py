"""Untrusted models, runs, pictures and tasks: none runs code or leads out of its folder."""

import json
import os
import pickle
import shutil
import struct
import sys
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from refusals import refused
from run_folders import SETTINGS
from safetensors.torch import load_file
from torch import nn

from hero_engine.config.settings import LoraSettings
from hero_engine.config.tasks import load_task
from hero_engine.core.errors import ExitCode
from hero_engine.embedded.training_scripts.common import Average, Checkpoint
from hero_engine.models import model_sources as sources
from hero_engine.models.open_model import open_model
from hero_engine.storage.journal import Journal
from hero_engine.storage.path_safety import inside
from hero_engine.storage.png import SIGNATURE, read_png
from hero_engine.storage.run_folder import RunDir

# --- models


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.sprung,)  # type: ignore[return-value]


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    """The file that is there once foreign code ran."""
    return tmp_path / "sprung"


@pytest.fixture
def model(square_folder: Path, tmp_path: Path) -> Path:
    """A model's folder to spoil."""
    return Path(shutil.copytree(square_folder, tmp_path / "model"))


def refuse_model(model: Path, said: str) -> None:
    with refused(ExitCode.ENVIRONMENT, said):
        open_model(str(model), LoraSettings(), "cpu")


def test_the_trap_springs_where_a_pickle_is_read(sprung: Path) -> None:
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()


@pytest.mark.parametrize(
    ("part", "weights", "pickled"),
    [
        ("unet", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("vae", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("text_encoder", "model.safetensors", "pytorch_model.bin"),
    ],
)
def test_a_model_of_pickles_is_refused_unread(
    part: str, weights: str, pickled: str, model: Path, sprung: Path
) -> None:
    (model / part / weights).unlink()
    (model / part / pickled).write_bytes(pickle.dumps(Trap(sprung)))
    refuse_model(model, "cannot open model")
    assert not sprung.exists()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_calls_itself_safetensors_is_refused_unread(
    model: Path, sprung: Path, protocol: int
) -> None:
    dumped = pickle.dumps(Trap(sprung), protocol)
    for file in (model / "unet").glob("*.safetensors"):
        file.write_bytes(dumped)
    refuse_model(model, "is a pickle, which can run code")
    single = model.with_name("single.safetensors")
    single.write_bytes(dumped)
    refuse_model(single, "is a pickle, which can run code")
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("scheduler", ["foreign", "Scheduler"]),
        ("scheduler", ["foreign.deeper", "Scheduler"]),
        ("extra", ["foreign", "Scheduler"]),
        ("text_encoder", ["transformers", "AutoModel"]),
        ("unet", ["diffusers", "AutoModel"]),
        ("unet", ["diffusers", ["UNet2DConditionModel"]]),
        ("unet", ["diffusers"]),
        ("_class_name", ["foreign", "StableDiffusionPipeline"]),
    ],
)
def test_a_model_that_brings_code_is_refused_and_the_code_not_run(
    part: str, named: object, model: Path, sprung: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """diffusers would import the module: it lies where Python looks, as in the folder at hand."""
    code = f"open({str(sprung)!r}, 'w')\nScheduler = None\n"
    for place in (model.parent, model, model / "scheduler"):
        (place / "foreign.py").write_text(code)
    monkeypatch.syspath_prepend(str(model.parent))
    monkeypatch.chdir(model.parent)
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {part: named}))
    refuse_model(model, f"wants code of its own for '{part}'")
    assert not sprung.exists() and "foreign" not in sys.modules


def test_a_hubs_model_that_brings_code_is_refused_before_it_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["foreign", "Scheduler"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    asked: list[str] = []

    def fetched(hub_id: str) -> Path:
        asked.append(hub_id)
        return tmp_path / "model_index.json"

    monkeypatch.setattr(sources, "_fetched", fetched)
    with refused(ExitCode.ENVIRONMENT, "some/one wants code of its own for 'scheduler'"):
        open_model("some/one", LoraSettings(), "cpu")
    assert asked == ["some/one"]


def test_the_training_scripts_go_on_without_pickles(tmp_path: Path) -> None:
    """Their checkpoints are tensors too, and bring everything back."""

    def training() -> tuple[nn.Module, torch.optim.Optimizer, Average, torch.Generator]:
        torch.manual_seed(0)
        layer = nn.Linear(2, 3)
        optimizer = torch.optim.AdamW(layer.parameters(), 1e-2)
        weights = list(layer.parameters())
        return layer, optimizer, Average(weights, 0.9), torch.Generator().manual_seed(1)

    def steps(
        parts: tuple[nn.Module, torch.optim.Optimizer, Average, torch.Generator], count: int
    ) -> None:
        layer, optimizer, average, random = parts
        for _ in range(count):
            optimizer.zero_grad()
            layer(torch.randn(4, 2, generator=random)).square().sum().backward()
            optimizer.step()
            average.update(list(layer.parameters()))

    def checkpoint(
        parts: tuple[nn.Module, torch.optim.Optimizer, Average, torch.Generator],
    ) -> Checkpoint:
        named = {"layer": parts[0], "optimizer": parts[1]}
        return Checkpoint(tmp_path / "a.ckpt", named, parts[2], parts[3])

    whole, first, second = training(), training(), training()
    steps(whole, 5)
    steps(first, 2)
    checkpoint(first).save(2)
    assert "optimizer.0.exp_avg" in load_file(tmp_path / "a.ckpt")
    assert checkpoint(second).load() == 2
    steps(second, 3)
    for one, other in zip(whole[0].parameters(), second[0].parameters(), strict=True):
        assert one.equal(other)
    assert all(map(torch.equal, whole[2].values, second[2].values))


# --- runs


@pytest.mark.parametrize(
    "path", ["../../x.png", "/etc/passwd", "images/../../x.png", "..", "a\0b", "~/../../x"]
)
def test_a_journal_cannot_lead_out_of_its_run(path: str, run: RunDir) -> None:
    with Journal(run.journal_path) as journal:
        journal.add_images(0, {0: "images/r000/000.png"})
        assert journal.images(0) == {0: "images/r000/000.png"}
        journal.add_images(0, {1: path})
        with refused(ExitCode.RUN, "names a file outside of it", start=run.path):
            journal.images(0)


@pytest.mark.parametrize("path", ["a", "images/r000/000.png", "..a", "a..b/c", "~"])
def test_paths_inside_the_run_are_accepted(path: str, tmp_path: Path) -> None:
    assert inside(tmp_path, path) == tmp_path / path


@pytest.mark.parametrize(
    "name", ["images", "images/r000", "images/r000/000.png.tmp", "status.json", "hero.log", "lock"]
)
def test_a_run_with_a_link_is_not_opened(name: str, run: RunDir, tmp_path: Path) -> None:
    """hero would write through it."""
    target = tmp_path / "mine"
    target.mkdir() if name in ("images", "images/r000") else target.write_text("mine")
    link = run.path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    with Journal(run.journal_path):
        pass
    with refused(ExitCode.RUN, "is a link: a run holds only files and folders", start=link):
        RunDir.open(run.path)


def test_a_run_with_a_pipe_is_not_opened(run: RunDir) -> None:
    """hero would wait for it for ever."""
    os.mkfifo(run.path / "status.json")
    with refused(ExitCode.RUN, "is not a plain file"):
        RunDir.open(run.path)


def test_a_run_may_itself_be_reached_by_a_link(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "newest").symlink_to(run.path)
    assert RunDir.open(tmp_path / "newest").settings == run.settings


def test_a_run_is_private_even_in_a_shared_folder(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    RunDir.create(tmp_path / "open", SETTINGS, load_task("hands"))
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700


# --- pictures


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG of one colour channel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_a_small_file_of_many_pixels_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000, bytes(60_001 * 99)))
    with refused(ExitCode.RUN, "60000 x 60000 pixels are too many", start=path):
        read_png(path)
    path.write_bytes(png(3, 2, bytes(8)))
    assert read_png(path).size == (3, 2)


def test_only_pngs_are_read_and_each_failure_is_one_line(tmp_path: Path) -> None:
    good = png(3, 2, bytes(8))
    wrong = {
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        "empty": b"",
        "short": good[:20],
        "cut": good[:40],
        "no head": SIGNATURE + b"\0\0\0\rIDAT" + good[16:],
        "zero": png(0, 0, b""),
    }
    for name, data in wrong.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(data)
        with refused(ExitCode.RUN, start=f"cannot read the image {path}: "):
            read_png(path)
    Image.new("RGB", (4, 2)).save(tmp_path / "bmp.png", "BMP")
    with refused(ExitCode.RUN, "it is not a PNG"):
        read_png(tmp_path / "bmp.png")
    with refused(ExitCode.RUN, "No such file"):
        read_png(tmp_path / "gone.png")


# --- tasks


@pytest.mark.parametrize(
    "name",
    ["..", ".", "../../x", "/tmp/x", "a/b", "a\\u0000b", "a\\u001b]0;x", "a\\u202eb", "x" * 300],
)
def test_a_tasks_name_cannot_lead_anywhere(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'prompt = "a"\nname = "{name}"')
    with refused(ExitCode.USAGE, "is not one line of text", start=path):
        load_task(str(path))


@pytest.mark.parametrize("stem", ["a\x1b]0;x", "a\u202eb"])
def test_nor_can_its_files_name(stem: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.toml"
    path.write_text('prompt = "a"')
    with refused(ExitCode.USAGE, "is not one line of text"):
        load_task(str(path))
    path.write_text('prompt = "a"\nname = "plain"')
    assert load_task(str(path)).name == "plain"


@pytest.mark.parametrize("field", ["prompt", "title", "success", "judge"])
@pytest.mark.parametrize("text", ["\\u001b[2J", "\\u009b2J", "\\u202eevil", "a\\u2028b", "\\u007f"])
def test_no_text_of_a_task_can_change_the_terminal(field: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'{field} = "{text}"\n' + 'prompt = "a"' * (field != "prompt"))
    with refused(ExitCode.USAGE, f"{field} = ", "is not one line of text"):
        load_task(str(path))
