"""HERO, round after round: Algorithm 1 of the paper. Read this file first.

    pi = N(0, I)
    repeat until the label budget is used:
        sample images from initial noises z_T ~ pi            policy/sampler.py
        a person labels them good or bad, and names one best  labelling/annotators.py
        fit the embedding E to the labels (triplet loss)      reward/embedding.py
        reward every image by its similarity to best in E     reward/rewards.py
        update the LoRA weights                               updates/ddpo.py, forward.py, ...
        pi = a mixture around the noises of best and goods    policy/noise_prior.py

A `State` (state.py) goes into a round, and a new one comes out. `rounds` is where images and labels
come from and where results go: run.py makes it durable. `steps` (steps.py) are the steps that
learn, with progress reports and memory backoff.
"""

from __future__ import annotations

from hero_engine.core.labelled_round import LabelledRound
from hero_engine.training.round_report import Outcome
from hero_engine.training.rounds import Rounds
from hero_engine.training.state import State
from hero_engine.training.steps import LearningSteps
from hero_engine.updates import NoSignal


def train(rounds: Rounds, steps: LearningSteps, state: State) -> State:
    """Run rounds until the budget is used; returns what was learned."""
    while not rounds.why_over(state):
        state = run_round(rounds, steps, state)
    return state


def run_round(rounds: Rounds, steps: LearningSteps, state: State) -> State:
    """Run one round: sample, label, learn.

    With `sample_ahead` the next round is sampled, from the policy before this update, while this
    one is labelled. `behaviour` is that policy: the next round's update needs it.
    """
    batch = rounds.sample(state.round, state.sampling_policy)
    behaviour = state.policy if rounds.is_next_sampled_ahead(state) else None
    if behaviour is not None:
        rounds.sample(state.round + 1, behaviour)
    labels = rounds.label(state)
    round = LabelledRound(state.round, batch, labels, rounds.imported(state))
    outcome = learn(steps, state, round)
    next_state = outcome.state.next_round(round, behaviour)
    rounds.finish(next_state, outcome)
    return next_state


def learn(steps: LearningSteps, state: State, round: LabelledRound) -> Outcome:
    """Learn from a round's labels. `State.next_round` then moves the noise prior to them."""
    observed = steps.observe(state, round)
    state = state.with_labels(round)
    state, fitted = steps.fit_reward_model(state, round)
    rewards_B, agreement = steps.reward(state, round)
    state, updated = steps.update(state, round, rewards_B)
    if not isinstance(updated, NoSignal):
        state, self_trained = steps.self_train(state, round)
        updated |= self_trained
    return Outcome(state, round, rewards_B, observed | agreement, fitted, updated)
