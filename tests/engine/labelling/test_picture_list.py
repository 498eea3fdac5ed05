"""Which pictures an import is told of: folders, lists, pairs, prompts in metadata; bad input."""

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hero_engine.core.errors import HeroError
from hero_engine.labelling.picture_list import ListedPicture, cropped, listed
from hero_engine.storage.foreign_pictures import opened

GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"positive": ["6", 0], "negative": ["7", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red\ncar"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry"}},
}


def picture(path: Path, size: tuple[int, int] = (8, 8), **metadata: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    info = PngInfo()
    for name, text in metadata.items():
        info.add_text(name, text)
    Image.new("RGB", size, (200, 10, 10)).save(path, pnginfo=info if metadata else None)
    return path


def test_folders_lists_and_pairs_are_read(tmp_path: Path) -> None:
    good, bad = picture(tmp_path / "good" / "b.png"), picture(tmp_path / "my-bad-ones" / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "good" / "c.jpg")
    (tmp_path / "good" / "notes.txt").write_text("no picture")
    lines = [
        {"path": "good/b.png", "label": "bad", "prompt": "a car"},
        {"better": "good/b.png", "worse": "my-bad-ones/a.png"},
    ]
    file = tmp_path / "list.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert listed([good.parent, bad.parent, file]) == [
        ListedPicture(good, good=True),
        ListedPicture(tmp_path / "good" / "c.jpg", good=True),
        ListedPicture(bad, good=False),
        ListedPicture(good, good=False, prompt="a car"),
        ListedPicture(good, good=True),
        ListedPicture(bad, good=False),
    ]


@pytest.mark.parametrize(
    ("metadata", "prompt"),
    [
        ({"parameters": "a red car\nNegative prompt: blurry\nSteps: 20"}, "a red car"),
        ({"parameters": "a red car\nSteps: 20, Sampler: Euler"}, "a red car"),
        ({"prompt": json.dumps(GRAPH)}, "a red car"),
        ({"prompt": "[" * 10_000}, ""),
        ({"prompt": '{"3": {"inputs": {"positive": ["9", 0]}}}'}, ""),
        ({"parameters": "a\x1b[2J car"}, "a?[2J car"),
        ({"parameters": "Steps: 20, Sampler: Euler"}, ""),
    ],
)
def test_a_prompt_is_read_from_metadata(
    tmp_path: Path, metadata: dict[str, str], prompt: str
) -> None:
    picture(tmp_path / "good" / "a.png", **metadata)
    assert [each.prompt for each in listed([tmp_path / "good"])] == [prompt]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[]", "expected an object"),
        ("{", "line 1"),
        ('{"path": "a.png"}', '"label" is None'),
        ('{"path": "", "label": "good"}', "the path of a picture"),
        ('{"better": "a.png"}', '"worse" is None'),
        ('{"path": "a.png", "label": "good", "prompt": 3}', '"prompt" is 3'),
        ('{"path": "missing.png", "label": "good"}', "cannot read the picture"),
        ('{"path": "list.jsonl", "label": "good"}', "cannot read the picture"),
    ],
)
def test_a_wrong_line_is_refused_in_one_line(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "list.jsonl"
    file.write_text(line)
    with pytest.raises(HeroError) as refused:
        listed([file])
    assert said in refused.value.message and "\n" not in refused.value.message


def test_folders_without_a_label_or_a_picture_are_refused(tmp_path: Path) -> None:
    for name, said in (
        ("mine", "good or bad"),
        ("good-bad", "good or bad"),
        ("good", "no picture"),
    ):
        (tmp_path / name).mkdir()
        with pytest.raises(HeroError, match=said):
            listed([tmp_path / name])
    with pytest.raises(HeroError, match="neither a folder"):
        listed([tmp_path / "nothing"])


def test_what_is_kept_of_a_picture_is_as_told(tmp_path: Path) -> None:
    wide = Image.new("RGB", (20, 10), "red")
    wide.paste("blue", (10, 0, 20, 10))
    colours = {crop: cropped(wide, 8, 8, crop).getpixel((4, 4)) for crop in ("left", "right")}
    assert colours == {"left": (255, 0, 0), "right": (0, 0, 255)}
    bomb = tmp_path / "bomb.png"
    Image.new("1", (8193, 8193)).save(bomb)
    with pytest.raises(HeroError, match="too many"):
        opened(bomb)
    deep = tmp_path / "deep.png"
    Image.new("I;16", (4, 4)).save(deep)
    assert opened(deep).mode == "RGB"
    with pytest.raises(HeroError, match="cannot read the picture"):
        opened(tmp_path)
