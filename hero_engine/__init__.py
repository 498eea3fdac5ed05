"""HERO: fine-tune a diffusion model online from a person's labels (Hiranaka et al., ICLR 2025).

::

    task ─▶ noise prior ─▶ sampler ─▶ images ─▶ labels ─▶ reward model ─▶ update ─▶ checkpoint
               ▲                                  │                         │
               └────── noises of best and goods ◀─┘      LoRA weights ◀─────┘   (next round)

A library without a terminal. Read `training/loop.py` first: Algorithm 1 of the paper, in one
screen. A `State` goes into a round and a new one comes out. One folder for each step:

    core           errors, labels, batches, random streams, events
    config         settings, presets, tasks
    storage        the run folder, the journal of labels, checkpoints
    models         pipelines, the diffusion process, LoRA
    policy         the noise prior and the sampler
    reward         embedding, backbone features, logistic head, rewards
    updates        ddpo, forward, d3po, sft: how labels change the LoRA weights
    labelling      annotators: a person, a simulated one, a file
    training       the loop, its state, and what makes it durable
    distributed    several processes
    runtime        the thread that takes commands and emits events
    evaluation     scores, blind comparison, speed; study: methods compared; embedded: the
                   model that ships

Importing this package imports no torch.
"""

__version__ = "0.2.0"
