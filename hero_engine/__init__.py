"""HERO: fine-tune a diffusion model online from a person's labels (Hiranaka et al., ICLR 2025).

::

    task ─▶ noise prior ─▶ sampler ─▶ images ─▶ labels ─▶ representation ─▶ reward ─▶ update ─▶ checkpoint
               ▲                                  │                                      │
               └───── best/good initial noises ◀──┘            LoRA weights ─────────────┘   (next round)

A library without a terminal: ``loop.py`` is the round, top to bottom; ``worker.py`` runs it in a
thread that takes commands and gives events (``protocol.py``). Importing this package imports no torch.
"""

__version__ = "0.1.0"
