"""Training of the embedded model: draw pictures, then train the VAE, the UNet and the judges.

Each part is a script whose defaults are the settings of the shipped weights::

    SCRIPTS=hero_engine.embedded.training_scripts
    python -m $SCRIPTS.data   --work WORK   # draws the pictures
    python -m $SCRIPTS.vae    --work WORK   # pictures -> vae/
    python -m $SCRIPTS.unet   --work WORK   # latents -> unet/, text_encoder/
    python -m $SCRIPTS.calibrate --work WORK  # base success to between 20% and 50%
    python -m $SCRIPTS.judges --work WORK   # labeller and evaluator
    python -m $SCRIPTS.pack   --work WORK   # fp16 -> embedded/weights/

Every part writes checkpoints and a log into WORK, resumes from its checkpoint and takes `--seed`.
`logs/` has the logs of the shipped weights.
"""
