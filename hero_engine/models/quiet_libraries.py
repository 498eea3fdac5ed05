"""No library may print: the terminal belongs to the app, stdout to JSON lines."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import CRITICAL

from hero_engine.models.quantisation_libraries import hide_libraries


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the model libraries' warnings and progress bars off stdout and stderr.

    transformers warns while diffusers imports it (torchvision is not needed here), so its
    verbosity is set before diffusers is imported. Errors are raised too, so that none is logged.
    """
    hide_libraries()
    import transformers.utils.logging as transformers_logging

    transformers_logging.set_verbosity(CRITICAL)
    transformers_logging.disable_progress_bar()
    import diffusers.utils.logging as diffusers_logging

    diffusers_logging.set_verbosity(CRITICAL)
    diffusers_logging.disable_progress_bar()
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    disable_progress_bars()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
