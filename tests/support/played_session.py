"""Four rounds of a fake engine, and a fifth under way: what screens are shown with."""

from __future__ import annotations

from fake_engine import FakeEngine
from textual.pilot import Pilot

BATCH = 64
GOODS = (14, 17, 22, 30)


def metrics(round: int) -> dict[str, float]:
    """Figures such as the policy gradient reports them."""
    return {
        "predicted_reward_auc": 0.5 + 0.08 * round,
        "reward_auc": 0.8 + 0.05 * round,
        "diversity": 1.3 - 0.1 * round,
        "clip_fraction": 0.2 + 0.1 * (round % 2),
        "ratio_mean": 1 + 1e-4 * round,
        "approx_kl": 2e-8 * (round + 1),
        "loss": -0.01 * round,
        "prediction_change": 0.02 * (round + 1),
    }


async def play(engine: FakeEngine, pilot: Pilot[int]) -> None:
    """Four rounds are over; the fifth is being drawn, and three pictures are marked."""
    engine.open(4)
    for round, good in enumerate(GOODS):
        engine.past(round, best=7 * round)
        engine.finish_round(round, good, metrics=metrics(round))
    engine.phase(4, "sampling")
    engine.images(4, range(40))
    engine.progress(4, "sample", 40, BATCH)
    await pilot.pause()
    await pilot.press("w", "e", "S")
