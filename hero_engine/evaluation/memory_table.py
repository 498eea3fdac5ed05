"""Tables by arithmetic: which model trains on which card, and how long a round takes.

    hero bench memory

docs/memory.md has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hero_engine.config.layers import merged
from hero_engine.config.presets import preset_for, preset_layers
from hero_engine.config.settings import Settings, with_changes
from hero_engine.models.footprint import CONTEXT, GIGA, Footprint, footprint
from hero_engine.models.known_configurations import configuration_names, known_configuration
from hero_engine.models.pipeline_facts import facts_of
from hero_engine.updates import RoundSize, network_calls
from hero_engine.updates.network_calls import forward_passes

CARDS = (8, 12, 16, 24, 48)
"""GiB."""

PRECISIONS = ("bf16", "int8", "nf4")
"""int8 stands for fp8 as well: a byte for a weight."""

MOST_ROWS = 64
GPUS = {"RTX 3060": 25e12, "RTX 4090": 165e12, "H100": 989e12}
"""Dense bf16 operations a second with float32 sums, as their makers say."""

USED = 0.4
"""Of which a diffusion network gets this share: an assumption."""


def default_settings(name: str) -> Settings:
    """The settings that a run of a configuration has by default."""
    facts = facts_of(known_configuration(name).pipeline)
    preset = preset_for(name, facts.parameters)
    layers = preset_layers(preset, model=name, kind=facts.settings, parameters=facts.parameters)
    return with_changes(Settings(model=name, preset=preset), merged(layers))


@dataclass(frozen=True)
class Entry:
    """A configuration with its default settings and what they take."""

    name: str
    settings: Settings
    footprint: Footprint

    @property
    def rows_of_picture(self) -> int:
        """Rows of a call for a picture: 2 with classifier-free guidance."""
        known, scale = known_configuration(self.name), self.settings.sampler.guidance
        facts, network = facts_of(known.pipeline), known.components[known.network][2]
        embedded = bool(facts.embedded) and bool(network.get("guidance_embeds", False))
        return 2 if scale > facts.off and facts.guidance and not embedded else 1


def entries(names: Iterable[str] = ()) -> list[Entry]:
    """All configurations that ship, or these, from the smallest network."""
    found = []
    for name in names or configuration_names():
        settings = default_settings(name)
        known = known_configuration(name)
        found.append(Entry(name, settings, footprint(known, settings.sampler.width, settings.lora)))
    return sorted(found, key=lambda entry: entry.footprint.parameters)


def card_rows(found: Footprint, precision: str, card: int) -> str:
    """How many rows of an update a card of this many GiB holds, or what else works."""
    free = card * 2**30 - CONTEXT
    rows = 0
    while rows < MOST_ROWS and found.peak(precision, max(1, 2 * rows)) <= free:
        rows = max(1, 2 * rows)
    if rows:
        return str(rows)
    offloads = precision != "nf4" and found.offloaded(precision) <= free
    return "offload" if offloads else "no"


def memory_table(found: Iterable[Entry]) -> Iterator[str]:
    """Markdown: gigabytes by model and precision, and rows by card."""
    cards = " | ".join(f"{card} GB" for card in CARDS)
    yield f"| model, picture | precision | network | a row | peak, 1 row | {cards} |"
    yield "|---|---|---|---|---|" + "---|" * len(CARDS)
    for entry in found:
        each = entry.footprint
        for precision in PRECISIONS:
            row = each.kept.checkpointed
            numbers = (each.network(precision), row, each.peak(precision))
            cells = [f"{number / GIGA:.1f}" for number in numbers]
            cells += [card_rows(each, precision, card) for card in CARDS]
            what = f"{each.title}, {each.size} px" if precision == PRECISIONS[0] else ""
            yield f"| {what} | {precision} | {' | '.join(cells)} |"


def encoder_table(found: Iterable[Entry]) -> Iterator[str]:
    """Markdown: what is on the GPU while prompts are encoded, and while pictures are decoded."""
    yield "| model | network | text encoders, bf16 | VAE, float32 | decoding a picture |"
    yield "|---|---|---|---|---|"
    for entry in found:
        each = entry.footprint
        sizes = (2 * each.encoders, 4 * each.vae, each.decoding)
        cells = " | ".join(f"{size / GIGA:.2f}" for size in sizes)
        yield f"| {each.title} | {each.parameters / GIGA:.2f} billion weights | {cells} |"


def round_work(entry: Entry) -> tuple[float, float]:
    """Operations of a round: of sampling, and of the update."""
    settings, flops, guided = entry.settings, entry.footprint.flops, entry.rows_of_picture
    steps = settings.sampler.steps
    size = RoundSize(settings.batch, steps, guided, lower=True)
    sampling = settings.batch * steps * guided * flops
    return sampling, forward_passes(network_calls(settings, size)) * flops


def time_table(found: Iterable[Entry]) -> Iterator[str]:
    """Markdown: the arithmetic of a round's minutes under the default settings."""
    gpus = " | ".join(f"{gpu}, minutes" for gpu in GPUS)
    yield f"| model | preset | pictures x steps | a row, TFLOP | sampling | update | {gpus} |"
    yield "|---|---|---|---|---|---|" + "---|" * len(GPUS)
    for entry in found:
        settings, each = entry.settings, entry.footprint
        sampling, update = round_work(entry)
        seconds = [(sampling + update) / (USED * speed) for speed in GPUS.values()]
        cells = [
            f"{settings.batch} x {settings.sampler.steps}",
            f"{each.flops / 1e12:.1f}",
            *(f"{work / 1e15:.1f} PFLOP" for work in (sampling, update)),
            *(f"{each / 60:.1f}" for each in seconds),
        ]
        yield f"| {each.title}, {each.size} px | {settings.preset} | {' | '.join(cells)} |"
