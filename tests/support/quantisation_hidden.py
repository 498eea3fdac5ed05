"""Hides torchao and bitsandbytes from diffusers, as hero does; imported before diffusers is."""

from hero_engine.models.quantisation_libraries import hide_libraries

hide_libraries()
