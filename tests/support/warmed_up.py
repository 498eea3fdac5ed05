"""What `warm_server` does before it forks: the imports, and a model opened and forgotten.

Libraries make tables at their first use that every later one finds ready.
"""

import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import quantisation_hidden  # before diffusers

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads would not survive a fork
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers.guiders
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion
import peft
import torch
from stand_ins import write_pipeline

import hero_engine.training.run
import hero_tui.cli
import hero_tui.commands.headless
import hero_tui.commands.inspect_runs
import hero_tui.commands.start_run
import hero_tui.launch
from hero_engine.config.settings import LoraSettings
from hero_engine.models.footprint import footprint_of
from hero_engine.models.open_model import open_model

__all__ = ["diffusers", "hero_engine", "hero_tui", "peft", "quantisation_hidden"]

torch.set_num_threads(1)
with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
    footprint_of(open_model(str(write_pipeline(Path(folder), 4, 8)), LoraSettings(), "cpu"))
del os.environ["TOKENIZERS_PARALLELISM"]
