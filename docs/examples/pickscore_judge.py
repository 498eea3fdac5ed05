"""PickScore (Kirstain et al. 2023) as a judge for hero: a reward model in a Python function.

    export PYTHONPATH=docs/examples
    hero run hands --headless --labels python,top=0.25:pickscore_judge:judge

It needs nothing that hero does not install. The first call downloads the model from the hub;
PICKSCORE_MODEL and PICKSCORE_PROCESSOR name other CLIP models of this kind.
"""

import os

import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

PROCESSOR = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
MODEL = "yuvalkirstain/PickScore_v1"


@torch.inference_mode()
def judge(paths: list[str], prompts: list[str]) -> list[float]:
    """The score of each picture for its prompt; scores of one prompt can be compared."""
    processor = AutoProcessor.from_pretrained(os.environ.get("PICKSCORE_PROCESSOR", PROCESSOR))
    model = AutoModel.from_pretrained(os.environ.get("PICKSCORE_MODEL", MODEL)).eval()
    scores = []
    for path, prompt in zip(paths, prompts, strict=True):
        picture = Image.open(path).convert("RGB")
        given = processor(
            text=[prompt], images=picture, padding=True, truncation=True, return_tensors="pt"
        )
        scores.append(float(model(**given).logits_per_image))
    return scores
