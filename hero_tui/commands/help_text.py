"""What `hero --help` opens with: examples, exit codes, environment."""

HELP = """\
Teach a diffusion model from your labels, in the terminal.

[b]Examples[/b]

  hero run --task hands                              label from the keyboard
  hero resume                                        go on where it was left
  hero run --task hands --headless --labels judge    the same from a script
  hero eval RUN --images 384 --noise fresh           better than before?
  hero export RUN --out hands.safetensors            the LoRA, for diffusers

[b]Exit codes[/b]

   0  done
   1  the engine failed
   2  wrong usage, setting, task or labels; no terminal
   3  the machine: a model that cannot be opened, a folder that cannot be written
   4  the run is missing, in use, or damaged
   5  the run waits for labels; see hero label
  75  stopped before the end; go on with hero resume
 130  interrupted

[b]Environment[/b]

  HERO_RUNS           folder of runs (default: ~/.local/share/hero/runs)
  HERO_SAMPLER_STEPS  any setting, by its name in hero config show
  HERO_DEBUG=1        tracebacks
"""
