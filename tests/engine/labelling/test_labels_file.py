"""Labels as JSON lines: read, checked, stored and waited for; every mistake is reported."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from refusals import refused

from hero_engine.core.errors import ExitCode, HeroError, LabelsNeeded
from hero_engine.core.labels import Labels
from hero_engine.labelling.annotators import ExternalAnnotator, FileAnnotator
from hero_engine.labelling.labels_file import (
    LabelsFile,
    checksum,
    parse_labels,
    read_labels,
    template,
    to_lines,
)
from hero_engine.storage.journal import Journal
from hero_engine.storage.run_folder import RunDir

NAME = Path("mine.jsonl")


@pytest.fixture
def journal(run: RunDir) -> Journal:
    journal = Journal(run.journal_path)
    journal.add_round(0)
    journal.add_round(1)
    return journal


def lines(path: Path, *rows: object) -> Path:
    """A labels file; texts are lines as they are."""
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), "utf-8")
    return path


def row(round: int, image: int, label: Any = "good", **more: Any) -> dict[str, Any]:
    return {"round": round, "image": image, "label": label, **more}


def pictures(run: RunDir, count: int) -> dict[int, Path]:
    """Files that stand for a round's pictures, all different."""
    found = {image: run.picture_path(0, image) for image in range(count)}
    for image, path in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture %d" % image)
    return found


def test_a_file_labels_its_rounds_and_leaves_the_rest_unlabelled(
    tmp_path: Path, run: RunDir, journal: Journal
) -> None:
    path = lines(
        tmp_path / "mine.jsonl",
        row(1, 0),
        "",
        row(0, 3, best=True),
        row(0, 0, "bad", best=False),
        "   ",
        row(0, 1),
        row(0, 2, None),
    )
    labeller = FileAnnotator(read_labels(path, batch=5), run)
    labeller.label(0, {}, journal)
    assert journal.labels(0, 5) == Labels((False, True, None, True, None), bests=(3,))
    assert journal.submitted(0) and not journal.submitted(1)
    assert {(each.source, each.step) for each in journal.history(0)} == {("mine.jsonl", 1)}
    assert journal.marks(0, 5).first_good() == 3  # the order of the file
    labeller.label(1, {}, journal)
    assert journal.labels(1, 5) == Labels((True, None, None, None, None))


@pytest.mark.parametrize("rows", [[], [row(0, 0, None)], [row(1, 0)]])
def test_a_round_without_a_label_waits_and_leaves_a_template(
    rows: list[object], tmp_path: Path, run: RunDir, journal: Journal
) -> None:
    path = lines(tmp_path / "mine.jsonl", *rows)
    with pytest.raises(
        LabelsNeeded, match=r'mine\.jsonl has no labels for round 1 \("round": 0\); fill in'
    ):
        FileAnnotator(read_labels(path, 2), run).label(0, pictures(run, 2), journal)
    assert (run.path / "labels-r000.jsonl").is_file()
    assert journal.history(0) == [] and not journal.submitted(0)


def test_a_template_has_a_line_per_picture_and_is_never_overwritten(
    run: RunDir, journal: Journal
) -> None:
    shown = pictures(run, 3)
    with pytest.raises(LabelsNeeded) as stop:
        ExternalAnnotator(run).label(0, shown, journal)
    left = run.path / "labels-r000.jsonl"
    assert str(stop.value) == f"fill in {left} and give it to: hero label {run.path} --from FILE"
    assert [json.loads(line) for line in left.read_text().splitlines()] == [
        {
            "round": 0,
            "image": image,
            "label": None,
            "best": False,
            "picture": f"images/r000/{image:03}.png",
            "sha256": checksum(path),
        }
        for image, path in shown.items()
    ]
    left.write_text(left.read_text().replace("null", '"bad"'))
    filled = read_labels(left, 3)
    with pytest.raises(LabelsNeeded):
        ExternalAnnotator(run).label(0, shown, journal)
    assert read_labels(left, 3) == filled
    FileAnnotator(filled, run).label(0, shown, journal)
    assert journal.labels(0, 3) == Labels((False, False, False))


def test_labels_given_for_other_pictures_are_refused_unless_forced(
    tmp_path: Path, run: RunDir, journal: Journal
) -> None:
    shown = pictures(run, 3)
    rows = [row(0, image, sha256=checksum(path)) for image, path in shown.items()]
    path = lines(tmp_path / "mine.jsonl", *rows)
    shown[1].write_bytes(b"another picture")
    labels = read_labels(path, 3)
    with refused(
        ExitCode.USAGE, '"image" 1 of "round" 0 is another picture', start=f"{path}, line 2: "
    ):
        FileAnnotator(labels, run).label(0, shown, journal)
    assert journal.history(0) == [] and not journal.submitted(0)
    said: list[str] = []
    FileAnnotator(labels, run, force=True, warn=said.append).label(0, shown, journal)
    assert said == ["round 1: 1 of 3 labels are for other pictures"]
    assert journal.labels(0, 3) == Labels((True, True, True))


WRONG: list[tuple[object, str]] = [
    ("good", "not JSON ("),
    ('{"round": 0, "image": 1, "label": "good"', "not JSON ("),
    ("[" * 100_000, "not JSON (too deeply nested)"),
    ('{"round": 0, "round": 1, "image": 1, "label": "good"}', "a key is repeated"),
    ("[0, 1]", "expected an object such as {"),
    ("null", "expected an object such as {"),
    (row(0, 1, lable="good"), "unknown key 'lable'; known are round, image, label, best"),
    (row(0, 1, "great"), "\"label\" is 'great'; it must be"),
    (row(0, 1, "\x1b]0;x\x07"), "\"label\" is '\\x1b]0;x\\x07'; it must be"),
    (row(0, 1, "x" * 999), '"label" is \'' + "x" * 56 + "...; it must be"),
    ({"round": 0, "image": 1}, "\"label\" is ''; it must be"),
    (row(0, 1, ["good"]), "\"label\" is ['good']; it must be"),
    (row(0, 1, best=1), '"best" must be true or false'),
    (row(0, 1, best=None), '"best" must be true or false'),
    (row(0, 1, "bad", best=True), "true only for a good picture"),
    (row(0, 1, None, best=True), "true only for a good picture"),
    ({"round": 0, "label": "good"}, '"image" is None; it must be a whole number, 0 or more'),
    (row(0, -1), '"image" is -1; it must be a whole number, 0 or more'),
    ('{"round": 0, "image": 1.0, "label": "good"}', '"image" is 1.0; it must be a whole number'),
    (row(0, True), '"image" is True; it must be a whole number'),
    (row(0, 4), '"image" is 4; it must be from 0 to 3'),
    (row(0, 10**4000), '"image" is 1000'),
    ('{"image": 1, "round": ' + "9" * 5000 + "}", "not JSON (Exceeds the limit"),
    ({"image": 1, "label": "good"}, '"round" is None; it must be a whole number'),
    (row(-1, 1), '"round" is -1; it must be a whole number'),
    (row(0, 1, sha256=5), '"sha256" is 5; it must be text'),
    (row(0, 0), '"image" 0 has a label already, in line 1'),
    (row(0, 1, best=True), '"round" 0 has a best already, in line 1'),
]


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_a_mistake_in_a_file_is_reported_with_its_line(
    tmp_path: Path, line: object, said: str
) -> None:
    path = lines(tmp_path / "mine.jsonl", row(0, 0, best=True), "", row(1, 0, best=True), line)
    with refused(ExitCode.USAGE, said, start=f"{path}, line 4: "):
        read_labels(path, batch=4)


def test_lines_end_where_lines_end(tmp_path: Path) -> None:
    """Not at the other places where Python's splitlines would, which may stand inside a text."""
    path = tmp_path / "mine.jsonl"
    text = '\ufeff{"round": 0, "image": 0, "label": "good", "source": "a\u2028b\x0c"}\r\nwrong'
    path.write_text(text.replace("\x0c", ""), "utf-8", newline="")
    with refused(ExitCode.USAGE, start=f"{path}, line 2: not JSON"):
        read_labels(path, 1)


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "picture.jsonl").write_bytes(b"\x89PNG\xff")
    for name in ("gone.jsonl", "picture.jsonl", ".", "a\0b"):
        with refused(ExitCode.USAGE, "cannot read the labels file"):
            read_labels(tmp_path / name, batch=4)


def test_a_template_and_what_it_is_read_as(run: RunDir) -> None:
    shown = pictures(run, 2)
    text = to_lines(template(7, shown, run.path))
    assert parse_labels(NAME, text, 2) == LabelsFile(NAME, {})
    text = text.replace("null", '"good"', 1).replace("false", "true", 1)
    (first, second) = parse_labels(NAME, text, 2).rounds[7]
    assert (first.good, first.best, first.sha256) == (True, True, checksum(shown[0]))
    assert (second.line, second.good, second.best) == (2, None, False)


def test_paths_in_a_file_are_never_followed(run: RunDir, journal: Journal) -> None:
    """What is read is the run's own picture of that number, whatever the line calls it."""
    shown = pictures(run, 2)
    paths = ["/etc/passwd", "../../../x", "a\0b", "\x1b]0;x"]
    for path in paths:
        others = {name: {"file": path, "tensor": path, "row": -1} for name in ("latent", "noise")}
        line = row(0, 1, picture=path, sha256=checksum(shown[1]), source=path, **others)
        found = parse_labels(NAME, json.dumps(line), 2)
        assert found.others(0, shown) == []
        assert [mark.image for mark in found.marks(0)] == [1]


def test_a_missing_picture_is_reported(tmp_path: Path) -> None:
    with refused(ExitCode.RUN, "No such file", start=f"cannot read the picture {tmp_path}/gone"):
        checksum(tmp_path / "gone.png")


# --- whatever a file holds, it is read right or refused in one line

VALUES = st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | st.text(max_size=4)
ROWS = st.dictionaries(
    st.sampled_from(["round", "image", "label", "best", "sha256", "picture", "x"]),
    VALUES | st.sampled_from(["good", "bad"]) | st.lists(VALUES, max_size=2),
)
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4
)
NEARLY_RIGHT = st.fixed_dictionaries(
    {
        "round": st.integers(0, 2),
        "image": st.integers(0, 4),
        "label": st.sampled_from(["good", "bad", None]),
    },
    optional={"best": st.booleans(), "time": JSON, "sha256": st.text()},
)
FILES = (
    st.binary()
    | st.text().map(str.encode)
    | st.lists((ROWS | NEARLY_RIGHT | JSON).map(json.dumps) | st.text()).map(
        lambda rows: "\n".join(rows).encode()
    )
)


@given(FILES)
@example(b"\xef\xbb\xbf")
@example(b'{"round": 1, "image": 0, "label": "\\ud800"}')
@example(b'{"\\ud800": 1}')
def test_any_file_is_read_right_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    try:
        found = read_labels(path, batch=4)
    except HeroError as error:
        assert error.exit_code == ExitCode.USAGE
        assert "\n" not in error.message and len(error.message) < 1000
        assert str(path) in error.message
        return
    for round, rows in found.rounds.items():
        images = [each.image for each in rows]
        assert sorted(set(images)) == sorted(images) and set(images) <= set(range(4))
        assert sum(each.best for each in rows) <= 1
        assert all(each.good for each in rows if each.best) and round >= 0
        written = [json.loads(content.decode("utf-8-sig").split("\n")[r.line - 1]) for r in rows]
        told = {True: "good", False: "bad", None: None}
        assert [(each["image"], each["label"]) for each in written] == [
            (each.image, told[each.good]) for each in rows
        ]
