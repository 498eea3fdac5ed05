"""How the embedded model was made: draw pictures, then train the VAE, the UNet and the judges.

Each part is a script with its settings as the defaults of its command line::

    SCRIPTS=hero_engine.embedded.training_scripts
    python -m $SCRIPTS.data   --work WORK   # draws the pictures
    python -m $SCRIPTS.vae    --work WORK   # pictures -> vae/
    python -m $SCRIPTS.unet   --work WORK   # latents -> unet/, text_encoder/
    python -m $SCRIPTS.calibrate --work WORK  # base success into 20% to 50%
    python -m $SCRIPTS.judges --work WORK   # labeller and evaluator
    python -m $SCRIPTS.pack   --work WORK   # fp16 -> embedded/weights/

Every part writes checkpoints and a log into WORK, goes on from its checkpoint when it is started
again, and takes ``--seed``. The logs of the shipped weights are kept in ``training/logs``.
"""
