"""Drive a diffusers pipeline through its own call, one prediction at a time.

A pipeline's `__call__` knows how its network is called: packing of latents, guidance, the sign and
the meaning of time, VAE statistics. The driver repeats none of that. It replaces four things while
the pipeline is called:
- the scheduler, by a subclass that hands out our timestep and keeps the network's prediction;
- `encode_prompt`, by a memory, so that text encoders can leave the GPU;
- `prepare_latents`, so that our latents take the place of its noise;
- `check_inputs`, which is asked once.

A prediction is the pipeline's call with one step at (x, t), ended when the scheduler is asked to
step. Decoding is its call without a step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor

from hero_engine.core.errors import ExitCode, HeroError, one_line
from hero_engine.models.float32_pass import HALF, in_float32
from hero_engine.models.input_pictures import hook_input_pictures
from hero_engine.models.latent_layout import LatentLayout
from hero_engine.models.prompt_truncation import noting_truncations

PICTURES = ("image", "images")
"""Arguments that are made from the picture to change in every call."""

Mode = Literal["pipeline", "schedule", "predict", "decode"]
Rows = Literal["one call", "doubled", "one by one"]
"""How rows of several timesteps go through the pipeline: its `t` holds a time for each row, for
each row of [negative, positive], or every row is a call of its own."""


class PredictionReached(Exception):  # noqa: N818 - ends a call, no error
    """Ends the pipeline's call once the network's prediction is known."""


@dataclass
class Request:
    """What one call of the pipeline is for.

    x: latents in the pipeline's layout; None: its own noise. timesteps: (1,) or (1, rows).
    """

    mode: Mode
    x: Tensor | None = None
    timesteps: Tensor | None = None


@dataclass
class Seen:
    """What the hooks saw in the last call. height, width: of the picture, in pixels."""

    output: Tensor | None = None
    timesteps: Tensor | None = None
    sigmas: Tensor | None = None
    shape: tuple[int, ...] = ()
    height: int = 0
    width: int = 0


@dataclass(frozen=True)
class Prepared:
    """What `prepare_latents` returned besides the latents, and how those are kept."""

    alone: bool
    kind: type
    rest: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def with_latents(self, x: Tensor) -> Any:
        """The same with other latents."""
        return x if self.alone else self.kind((x, *self.rest))


@dataclass(frozen=True)
class NetworkCall:
    """One call of a network, with its arguments."""

    network: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __call__(self) -> Tensor:
        """The network's output, the first of several."""
        output = self.network(*self.args, **self.kwargs)[0]
        first: Tensor = output[0] if isinstance(output, list) else output
        return first


@dataclass
class PipelineDriver:
    """A pipeline that answers one prediction at a time.

    device: where the network and the VAE compute. encoding: a context in which the text encoders
    can work, which gives their device (None: the same). in_float32: latents go to the network in
    float32 whatever its precision is. mixed: how rows of different timesteps are called, by whether
    guidance is on; set by the self-test. input_picture: which object the picture to change is, in
    the call that runs: what was computed from it is remembered by that.
    """

    pipeline: Any
    network: Any
    device: torch.device
    encoding: Callable[[], Any]
    request: Request = field(default_factory=lambda: Request("pipeline"))
    seen: Seen = field(default_factory=Seen)
    mixed: dict[bool, Rows] = field(default_factory=dict)
    encodings: dict[str, Any] = field(default_factory=dict)
    prepared: dict[str, Prepared] = field(default_factory=dict)
    input_latents: dict[str, Any] = field(default_factory=dict)
    checks: bool = False
    in_float32: bool = False
    encoding_on: torch.device | None = None
    truncated: list[str] = field(default_factory=list)
    input_picture: int = 0

    def __post_init__(self) -> None:
        kind: Any = type(self.pipeline)
        self._call = kind.__call__.__wrapped__
        self._generator = torch.Generator(self.device)
        self.pipeline.scheduler = recording(self.pipeline.scheduler, self)
        self.pipeline.__class__ = hooked(type(self.pipeline))
        object.__setattr__(self.pipeline, "driver", self)
        if self.network.dtype in HALF:
            self.network.register_forward_hook(self._in_float32)

    def _in_float32(self, network: Any, inputs: Any, output: Any) -> Any:
        """A forward hook: guidance is computed from float32 predictions.

        Its scale multiplies the rounding of bf16 otherwise. The pipeline's own sampling stays as
        it is.
        """
        return in_float32(output) if self.request.mode == "predict" else output

    def run(self, request: Request, rows: int, arguments: Mapping[str, Any]) -> Any:
        """One call of the pipeline; returns its output, None if a prediction ended it."""
        self.request, self.input_picture = request, id(arguments.get("image"))
        try:
            return self._call(
                self.pipeline, num_images_per_prompt=rows, generator=self._generator, **arguments
            )
        except PredictionReached:
            return None
        finally:
            self.request = Request("pipeline")

    @contextmanager
    def at_encoders(self) -> Iterator[torch.device]:
        """The device on which a prompt is encoded; words that are cut off become notices."""
        noting = noting_truncations(self.pipeline, self.truncated)
        with torch.no_grad(), self.encoding() as device, noting:
            self.encoding_on = device
            try:
                yield device or self.device
            finally:
                self.encoding_on = None

    @contextmanager
    def checking(self, checks: bool) -> Iterator[None]:
        """Let the pipeline check its inputs, once: it would do so at every prediction."""
        self.checks = checks
        try:
            yield
        finally:
            self.checks = False

    @torch.no_grad()
    def prepare(self, arguments: Mapping[str, Any]) -> Seen:
        """Encode the prompts and read the schedule and the latents' layout: no network call.

        HeroError, exit code 3, for a pipeline whose call fails, such as one that hands its own
        scheduler further arguments.
        """
        try:
            self.run(Request("schedule"), 1, dict(arguments) | {"output_type": "latent"})
        except TypeError as error:
            kind, scheduler = type(self.pipeline).__name__, type(self.pipeline.scheduler).__name__
            raise HeroError(
                f"{kind} cannot be trained: its call fails with hero's scheduler, {scheduler} "
                f"({one_line(error)}); give another --model",
                exit_code=ExitCode.ENVIRONMENT,
            ) from error
        return self.seen

    def predict(
        self, x: Tensor, timesteps_B: Tensor, arguments: Mapping[str, Any], *, guided: bool
    ) -> Tensor:
        """What the pipeline hands to its scheduler at (x, t): as x; differentiable."""
        times = timesteps_B.to(self.device)
        if bool((times == times[0]).all()):
            return self._predict(x, times[:1], arguments)
        match self.mixed.get(guided, "one by one"):
            case "one call":
                return self._predict(x, times[None], arguments)
            case "doubled":
                return self._predict(x, torch.cat([times, times])[None], arguments)
        each = range(len(x))
        return torch.cat([self._predict(x[i : i + 1], times[i : i + 1], arguments) for i in each])

    def _predict(self, x: Tensor, timesteps: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        self.seen.output = None
        self.run(
            Request("predict", x, timesteps), len(x), dict(arguments) | {"output_type": "latent"}
        )
        output, self.seen.output = self.seen.output, None
        if output is None:
            raise RuntimeError("the pipeline ended without a denoising step")
        return output

    @torch.no_grad()
    def decode(self, x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        """Pictures in 0..1, (B, 3, height, width), of final latents in the pipeline's layout."""
        images: Tensor = self.run(
            Request("decode", x), len(x), dict(arguments) | {"output_type": "pt"}
        ).images
        return images

    @torch.no_grad()
    def own_latents(self, x: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        """The final latents of the pipeline's own sampling from this noise: as x."""
        self.seen.output = None
        self.run(Request("pipeline", x), len(x), dict(arguments) | {"output_type": "latent"})
        output, self.seen.output = self.seen.output, None
        assert output is not None
        return output

    @contextmanager
    def listening(self) -> Iterator[list[NetworkCall]]:
        """The pipeline's calls of its network, as long as the block lasts."""
        calls: list[NetworkCall] = []

        def hear(network: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append(NetworkCall(network, args, kwargs))

        handle = self.network.register_forward_pre_hook(hear, with_kwargs=True)
        try:
            yield calls
        finally:
            handle.remove()

    def layout(self) -> LatentLayout:
        """Of the last call's latents."""
        seen = self.seen
        return LatentLayout.of(seen.shape[1:], seen.height, seen.width)


def recording(scheduler: Any, driver: PipelineDriver) -> Any:
    """The same scheduler, as a subclass that answers the driver's requests."""
    base: Any = type(scheduler)

    class Recording(base):  # type: ignore[misc]
        init_noise_sigma = 1.0
        timesteps: Any

        @wraps(base.set_timesteps)
        def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
            request = driver.request
            if request.mode in ("pipeline", "schedule"):
                base.set_timesteps(self, *args, **kwargs)
            if request.mode == "schedule":
                driver.seen.timesteps = self.timesteps.clone()
                driver.seen.sigmas = getattr(self, "sigmas", None)
                self.timesteps = self.timesteps[:0]
            if request.mode == "predict":
                self.timesteps, self.num_inference_steps = request.timesteps, 1
                self.sigmas = torch.zeros(2)
            if request.mode == "decode":
                self.timesteps, self.num_inference_steps = torch.zeros(0), 0
                self.sigmas = torch.zeros(1)

        @wraps(base.step)
        def step(self, model_output: Any, timestep: Any, sample: Any, *args: Any, **kw: Any) -> Any:
            if driver.request.mode == "predict":
                driver.seen.output = model_output
                raise PredictionReached
            made = base.step(self, model_output, timestep, sample, *args, **kw)
            driver.seen.output = made[0] if isinstance(made, tuple) else made.prev_sample
            return made

        def scale_model_input(self, sample: Any, *_: Any, **__: Any) -> Any:
            return sample

    Recording.__name__ = Recording.__qualname__ = base.__name__
    return Recording.from_config(scheduler.config)


def hooked(base: Any) -> Any:
    """A pipeline's class with the driver's hooks; `driver` is an attribute of its instances."""
    encode = inspect.signature(base.encode_prompt)
    prepare = inspect.signature(base.prepare_latents)

    class Hooked(base):  # type: ignore[misc]
        driver: PipelineDriver

        @property
        def _execution_device(self) -> torch.device:
            return self.driver.encoding_on or self.driver.device

        def check_inputs(self, *args: Any, **kwargs: Any) -> None:
            if self.driver.checks:
                base.check_inputs(self, *args, **kwargs)

        def progress_bar(self, *_: Any, **__: Any) -> Any:
            return _SilentBar()

        def maybe_free_model_hooks(self) -> None:
            """Nothing is offloaded by the pipeline itself."""

        @wraps(base.encode_prompt)
        def encode_prompt(self, *args: Any, **kwargs: Any) -> Any:
            bound = encode.bind(self, *args, **kwargs)
            rows = bound.arguments.get("num_images_per_prompt", 1)
            if rows != 1:
                bound.arguments["num_images_per_prompt"] = 1
            key = _key(bound.arguments, ("self", "device", *PICTURES), self.driver.input_picture)
            known = self.driver.encodings
            if key not in known:
                with self.driver.at_encoders() as device:
                    if "device" in bound.arguments:
                        bound.arguments["device"] = device
                    made = base.encode_prompt(*bound.args, **bound.kwargs)
                known[key] = moved(made, self.driver.device)
            return repeated(known[key], rows)

        @wraps(base.prepare_latents)
        def prepare_latents(self, *args: Any, **kwargs: Any) -> Any:
            driver, bound = self.driver, prepare.bind(self, *args, **kwargs)
            unlike = ("self", "generator", "latents", *PICTURES)
            key = _key(bound.arguments, unlike, driver.input_picture)
            if key not in driver.prepared:
                bound.arguments["latents"] = None
                driver.prepared[key] = _prepared(base.prepare_latents(*bound.args, **bound.kwargs))
            made, seen = driver.prepared[key], driver.seen
            seen.shape = made.shape
            seen.height, seen.width = bound.arguments["height"], bound.arguments["width"]
            x = driver.request.x
            if x is None:
                return made.with_latents(torch.zeros(made.shape, dtype=made.dtype).to(made.device))
            exact = driver.in_float32 or driver.request.mode == "decode"
            return made.with_latents(x.to(made.device, torch.float32 if exact else made.dtype))

    hook_input_pictures(Hooked, base)
    Hooked.__name__, Hooked.__qualname__ = base.__name__, base.__qualname__
    return Hooked


def _prepared(made: Any) -> Prepared:
    alone = isinstance(made, Tensor)
    first = made if alone else made[0]
    rest = () if alone else tuple(made[1:])
    return Prepared(alone, type(made), rest, tuple(first.shape), first.dtype, first.device)


def _key(arguments: Mapping[str, Any], without: tuple[str, ...], picture: int) -> str:
    """What names a result: the arguments, of pictures their identity alone."""
    named = {name: value for name, value in arguments.items() if name not in without}
    return repr((named, picture))


def repeated(encoded: Any, rows: int) -> Any:
    """A single prompt's encodings for this many rows; what has no batch axis of 1 stays as it is.

    Lists are copied, since some pipelines extend them.
    """
    if isinstance(encoded, tuple | list):
        return type(encoded)(repeated(each, rows) for each in encoded)
    if isinstance(encoded, Tensor) and rows > 1 and encoded.ndim > 1 and len(encoded) == 1:
        return encoded.repeat_interleave(rows, 0)
    return encoded


def moved(value: Any, device: torch.device) -> Any:
    """A nest of tensors on this device."""
    if isinstance(value, tuple | list):
        return type(value)(moved(each, device) for each in value)
    return value.to(device) if isinstance(value, Tensor) else value


class _SilentBar:
    """In place of a progress bar."""

    def __enter__(self) -> _SilentBar:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, *_: object) -> None:
        """Say nothing."""
