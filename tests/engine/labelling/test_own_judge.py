"""A custom judge: its input, the meaning of its answers, and its failures."""

from __future__ import annotations

import json
import shlex
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from hero_engine.config.prompts import PromptPlan
from hero_engine.core.errors import ExitCode, HeroError, StopRequested
from hero_engine.core.labels import Labels
from hero_engine.labelling.annotators import JudgeAnnotator
from hero_engine.labelling.judge_program import Asked, JudgeFailed, ask
from hero_engine.labelling.judge_source import (
    JudgeSource,
    Verdict,
    bests,
    is_own_judge,
    read_judge_source,
)
from hero_engine.storage.journal import Journal

PROJECT = Path(__file__).parents[3]
EXAMPLES = PROJECT / "docs" / "examples"
ANSWER = (
    "import sys, json\n"
    "for line in sys.stdin:\n"
    "    asked = json.loads(line)\n"
    "    print(json.dumps({'image': asked['image'], 'score': len(asked['prompt'])}))\n"
)


def program(code: str, options: str = "") -> JudgeSource:
    """A judge that is this Python code."""
    words = shlex.join([sys.executable, "-S", "-c", f"exec({code!r})"])
    return read_judge_source(f"command{options}:{words}")


def asked(*prompts: str) -> list[Asked]:
    return [Asked(Path(f"/p/{number}.png"), prompt) for number, prompt in enumerate(prompts)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("python:a.b:f", ("python", "a.b:f", 0.5, 0.0, 600.0)),
        ("python,top=0.25:a:f", ("python", "a:f", 0.5, 0.25, 600.0)),
        ("command,threshold=-2,seconds=3:./s --x=1,2:3", ("command", "./s --x=1,2:3", -2, 0.0, 3)),
    ],
)
def test_a_judge_is_named_by_one_text(text: str, want: tuple[Any, ...]) -> None:
    found = read_judge_source(text)
    assert (found.kind, found.what, found.threshold, found.top, found.seconds) == want
    assert found.name == text and is_own_judge(text)


@pytest.mark.parametrize(
    "text",
    [
        "python:a",
        "python:a:b:c",
        "python::f",
        "command:",
        "command:'",
        "python,top=1:a:f",
        "python,top=x:a:f",
        "python,threshold=nan:a:f",
        "python,seconds=0:a:f",
        "python,sure=1:a:f",
        "command:a\x1b[2J",
    ],
)
def test_a_judge_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(HeroError) as refused:
        read_judge_source(text)
    assert refused.value.exit_code == ExitCode.USAGE and "\n" not in refused.value.message
    assert not is_own_judge("judge:flip=0.1") and not is_own_judge("labels.jsonl")


def test_scores_become_labels_and_bests_of_each_prompt() -> None:
    verdicts = [Verdict(each) for each in (0.9, 0.4, 0.6, -1.0, 0.2, 0.1)]
    groups = (0, 0, 0, 1, 1, 1)
    by_threshold = read_judge_source("python:a:f").labels(verdicts, groups)
    assert by_threshold == (True, False, True, False, False, False)
    assert bests(verdicts, by_threshold, groups) == (0,)
    by_share = read_judge_source("python,top=0.34:a:f").labels(verdicts, groups)
    assert by_share == (True, False, False, False, True, False)
    assert bests(verdicts, by_share, groups) == (0, 4)
    said = [Verdict(label=True), Verdict(label=False), Verdict()]
    assert read_judge_source("python:a:f").labels(said, (0, 0, 0)) == (True, False, None)


def test_a_program_reads_pictures_and_writes_scores() -> None:
    assert ask(program(ANSWER), asked("a", "abc")) == [Verdict(1.0), Verdict(3.0)]


def test_a_function_may_print_and_returns_scores_or_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "print('loading')\n"
        "def judge(paths, prompts):\n"
        "    print('hello')\n"
        "    return [0.25, True, 'bad', None][: len(paths)]\n"
        "def wrong(paths, prompts):\n    return [1]\n"
        "def breaks(paths, prompts):\n    raise OSError('no weights')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.chdir(tmp_path)
    found = ask(read_judge_source("python:mine:judge"), asked("a", "b", "c", "d"))
    assert found == [Verdict(0.25), Verdict(label=True), Verdict(label=False), Verdict()]
    for name, said in (("wrong", "1 verdicts for 2"), ("breaks", "no weights"), ("no", "no attr")):
        with pytest.raises(JudgeFailed, match=said):
            ask(read_judge_source(f"python:mine:{name}"), asked("a", "b"))


HOSTILE = {
    "no such program": ("command:/no/such/program", "cannot be started"),
    "dies": ("import os; os.kill(os.getpid(), 9)", "signal SIGKILL"),
    "exit code": ("import sys; sys.exit('out of ink')", "exit code 1: 'out of ink'"),
    "silent": ("pass", "judged 0 of 2 pictures"),
    "half": ('print(\'{"image": 0, "score": 1}\')', "judged 1 of 2"),
    "no JSON": ("print('\\x1b[2J')", "wrong line 1"),
    "deep": ("print('[' * 100000)", "wrong line 1"),
    "twice": ('print(\'{"image": 0, "score": 1}\\n\' * 2)', "comes twice"),
    "other picture": ('print(\'{"image": 2, "score": 1}\')', '"image" is 2'),
    "no number": ('print(\'{"image": 0, "score": 1e999}\')', '"score" is inf'),
    "no label": ('print(\'{"image": 0, "label": "fine"}\')', '"label" is'),
    "nothing said": ("print('{\"image\": 0}')", "neither"),
    "flood": ("import sys\nwhile True: sys.stdout.write('x' * 65536)", "writes without end"),
    "hangs": ("import time; time.sleep(60)", "within 0.5 seconds"),
    "closes and hangs": ("import os, time; os.close(1); os.close(2); time.sleep(60)", "not end"),
    "leaves a child": (
        "import subprocess; subprocess.Popen(['sleep', '60'])",
        "within 0.5 seconds",
    ),
}


@pytest.mark.parametrize(("code", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_judge_ends_in_one_line(code: str, said: str) -> None:
    hurried = said in ("within 0.5 seconds", "not end")
    source = program(code, ",seconds=0.5" if hurried else ",seconds=60")
    if code.startswith("command:"):
        source = read_judge_source(code)
    began = time.monotonic()
    with pytest.raises(JudgeFailed) as failed:
        ask(source, asked("a", "b"))
    assert said in failed.value.message and "\n" not in failed.value.message
    assert "\x1b" not in failed.value.message
    assert failed.value.exit_code == ExitCode.ENVIRONMENT and time.monotonic() - began < 30


def test_a_stop_ends_the_judge() -> None:
    def stop() -> None:
        raise StopRequested

    with pytest.raises(StopRequested):
        ask(program("import time; time.sleep(60)"), asked("a"), stop)


def test_a_failed_judge_loses_nothing_and_its_name_is_kept_with_each_label(tmp_path: Path) -> None:
    pictures = {image: tmp_path / f"{image}.png" for image in range(4)}
    plan = PromptPlan(("a", "abc"))
    with Journal(tmp_path / "journal.db") as journal:
        journal.add_round(0)
        with pytest.raises(HeroError, match="Round 1 still waits for labels"):
            JudgeAnnotator(program("pass"), plan).label(0, pictures, journal)
        assert not journal.submitted(0) and not journal.history(0)
        source = program(ANSWER, ",threshold=2")
        JudgeAnnotator(source, plan).label(0, pictures, journal)
        assert journal.submitted(0)
        found = journal.labels(0, 4, plan.groups(0, 4))
        assert found == Labels((False, False, True, True), bests=(2,))
        assert {each.source for each in journal.history(0)} == {source.name}


def test_a_vision_language_model_behind_http_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/tasks.md, against a stand-in for its server."""
    seen: list[dict[str, Any]] = []

    class StandIn(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(request)
            text = "Yes, clearly." if len(seen) == 1 else "No."
            body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), StandIn)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PYTHONPATH", f"{PROJECT}:{EXAMPLES}")
    monkeypatch.setenv("VLM_URL", f"http://127.0.0.1:{server.server_port}/v1/chat/completions")
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for file in files:
        file.write_bytes(b"\x89PNG")
    try:
        found = ask(
            read_judge_source("python:vlm_judge:judge"),
            [Asked(file, "a red car") for file in files],
        )
    finally:
        server.shutdown()
        server.server_close()
    assert found == [Verdict(label=True), Verdict(label=False)]
    assert "a red car" in json.dumps(seen[0]) and "data:image/png;base64," in json.dumps(seen[0])


def test_a_clip_reward_model_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/tasks.md, with a tiny random CLIP in place of PickScore."""
    from PIL import Image
    from tiny_parts import byte_tokenizer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    text = {**tiny, "num_attention_heads": 2, "vocab_size": 300, "max_position_embeddings": 64}
    vision = {**tiny, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    square = {"height": 16, "width": 16}
    images = CLIPImageProcessor(size=square, crop_size=square)
    CLIPProcessor(images, byte_tokenizer(begins=True)).save_pretrained(tmp_path / "clip")
    for name in ("PICKSCORE_MODEL", "PICKSCORE_PROCESSOR"):
        monkeypatch.setenv(name, str(tmp_path / "clip"))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from pickscore_judge import judge  # type: ignore[import-not-found]

    for number in range(2):
        Image.new("RGB", (20, 20), (200 * number, 0, 0)).save(tmp_path / f"{number}.png")
    paths = [str(tmp_path / f"{number}.png") for number in (0, 1, 0)]
    scores = judge(paths, ["a", "a", "a"])
    assert scores[0] == scores[2] != scores[1]
