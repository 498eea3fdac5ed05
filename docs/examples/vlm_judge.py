"""A vision-language model behind an OpenAI-compatible HTTP server as a judge for hero.

    export VLM_URL=http://127.0.0.1:8000/v1/chat/completions VLM_MODEL=my-model
    PYTHONPATH=docs/examples hero run hands --headless --labels python:vlm_judge:judge

Only the standard library is used. VLM_QUESTION replaces the question.
"""

import base64
import json
import os
import urllib.request
from pathlib import Path

QUESTION = "Does this picture show: {prompt}? Answer yes or no."


def judge(paths: list[str], prompts: list[str]) -> list[bool]:
    """True for each picture that the model says yes to."""
    return [says_yes(path, prompt) for path, prompt in zip(paths, prompts, strict=True)]


def says_yes(path: str, prompt: str) -> bool:
    """Ask about one picture."""
    picture = base64.b64encode(Path(path).read_bytes()).decode()
    question = os.environ.get("VLM_QUESTION", QUESTION).format(prompt=prompt)
    content = [
        {"type": "text", "text": question},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
    ]
    asked = {
        "model": os.environ.get("VLM_MODEL", "default"),
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 8,
        "temperature": 0,
    }
    request = urllib.request.Request(
        os.environ["VLM_URL"],
        json.dumps(asked).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        said = json.load(answer)["choices"][0]["message"]["content"]
    return str(said).strip().lower().startswith("yes")
