"""Memory by arithmetic from the published configurations; the documents quote it."""

from pathlib import Path

import pytest

from hero_engine.evaluation.memory_table import Entry, card_rows, entries, memory_table, time_table
from hero_engine.models.footprint import CONTEXT, Footprint, footprint
from hero_engine.models.known_configurations import (
    configuration_names,
    known_configuration,
)
from hero_engine.models.memory_estimate import Kept
from hero_engine.models.pipeline_facts import facts_of
from hero_engine.models.random_models import bare_module

DOCUMENT = Path(__file__).parents[3] / "docs" / "memory.md"

PUBLISHED = {
    "config:sd15": 859_520_964,
    "config:sdxl": 2_567_463_684,
    "config:sd3.5-medium": 2_243_171_520,
    "config:z-image": 6_154_908_736,
    "config:flux.2-klein": 3_875_544_576,
    "config:flux.1-dev": 11_901_408_320,
    "config:qwen-image": 20_430_401_088,
}
"""Weights of the networks."""


@pytest.mark.parametrize("name", configuration_names())
def test_a_configuration_has_as_many_weights_as_the_published_network(name: str) -> None:
    known = known_configuration(name)
    network = bare_module(*known.components[known.network])
    found = sum(weight.numel() for weight in network.parameters())
    assert found == PUBLISHED[name]
    typical = facts_of(known.pipeline).parameters
    assert typical == pytest.approx(found, rel=0.1)


@pytest.fixture(scope="module")
def sd15() -> Entry:
    """Stable Diffusion 1.5 under preset paper."""
    return entries(["config:sd15"])[0]


def test_the_documents_tables_are_what_the_command_prints(sd15: Entry) -> None:
    """One model of seven, since each takes seconds; hero bench memory has all."""
    document = DOCUMENT.read_text("utf-8").splitlines()
    for line in (*memory_table([sd15]), *time_table([sd15])):
        assert line in document


def test_what_fits_by_hand() -> None:
    """Weights 1e9 x 2, VAE 0.1e9 x 4, LoRA 0.1e9, rows of 0.5e9; 8 GiB hold 8.59e9 - 1.5e9."""
    kept = Kept(9, inputs=10**8, outside=10**8, largest=3 * 10**8, weights=10**8)
    made = Footprint(
        title="one",
        size=512,
        linear=9 * 10**8,
        other=10**8,
        lora=10**8,
        targeted=10**8,
        kept=kept,
        encoders=0,
        vae=10**8,
        decoding=2 * 10**9,
        flops=1,
    )
    assert made.peak("bf16") == made.decoding_peak("bf16") == 4.5e9
    assert made.updating("bf16", 4) == 2.5e9 + 4 * 5e8
    assert made.network("int8") == 9e8 + 2e8
    assert made.offloaded("bf16") == 4.5e9 - 2e9 + 2e8
    free = 8 * 2**30 - CONTEXT
    assert made.updating("bf16", 8) <= free < made.updating("bf16", 16)
    assert card_rows(made, "bf16", 8) == "8"
    assert card_rows(made, "bf16", 5) == "offload" and card_rows(made, "nf4", 4) == "no"


def test_a_picture_of_half_the_side_keeps_a_quarter(sd15: Entry) -> None:
    small = footprint(known_configuration("config:sd15"), 256)
    whole = sd15.footprint
    assert small.kept.plain == pytest.approx(whole.kept.plain / 4, rel=0.05)
    assert small.parameters == whole.parameters
