"""HERO: fine-tune a diffusion model online from a person's labels (Hiranaka et al., ICLR 2025).

::

    task ─▶ noise prior ─▶ sampler ─▶ images ─▶ labels ─▶ representation ─▶ reward ─▶ update
               ▲  ▲                               │                                     │
               │  └─── noises of best and goods ◀─┘                                     ▼
               └───────────────────────── next round ◀── checkpoint ◀── LoRA weights ───┘

A library without a terminal: ``loop.py`` is the round, top to bottom; ``worker.py`` runs it in a
thread that takes commands and gives events (``protocol.py``). Importing it imports no torch.

The parts of a round are the files beside this one. In folders: ``models`` (pipelines, families,
LoRA files), ``updates``, ``tasks``, ``disk`` (the run folder), ``processes`` (more than one),
``scoring``, ``study`` (methods compared), ``embedded`` (the model that ships).
"""

__version__ = "0.2.0"
