"""How good a model has become, and at what speed: success, blind comparison, divergence, timing."""
