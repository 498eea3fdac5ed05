"""Models: opening a diffusers pipeline, its family and prediction, LoRA weights in and out."""
