"""The course of the learning rate: each schedule is a function of the step, giving a factor of the peak.

warmup = 10 steps, then
linear ╱╲   cosine ╱⌒╲   constant ╱▔▔   inverse_sqrt ╱⌒__   warmup_stable_decay ╱▔▔╲
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from enfold.base.errors import ArgumentError

Factor = Callable[[int], float]


def _rising(step: int, warmup: int) -> float:
    return step / max(1, warmup)


def _progress(step: int, warmup: int, total: int) -> float:
    return (step - warmup) / max(1, total - warmup)


def _linear(step: int, *, warmup: int, total: int) -> float:
    return _rising(step, warmup) if step < warmup else max(0.0, (total - step) / max(1, total - warmup))


def _cosine(step: int, *, warmup: int, total: int, num_cycles: float = 0.5) -> float:
    if step < warmup:
        return _rising(step, warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * _progress(step, warmup, total))))


def _restarts(step: int, *, warmup: int, total: int, num_cycles: int = 1) -> float:
    if step < warmup:
        return _rising(step, warmup)
    done = _progress(step, warmup, total)
    return 0.0 if done >= 1.0 else max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((num_cycles * done) % 1.0))))


def _polynomial(step: int, *, warmup: int, total: int, peak: float, lr_end: float = 1e-7, power: float = 1.0) -> float:
    if step < warmup:
        return _rising(step, warmup)
    if step > total:
        return lr_end / peak
    return ((peak - lr_end) * (1 - _progress(step, warmup, total)) ** power + lr_end) / peak


def _constant(step: int, *, warmup: int, total: int) -> float:
    return 1.0


def _constant_after_warmup(step: int, *, warmup: int, total: int) -> float:
    return _rising(step, warmup) if step < warmup else 1.0


def _inverse_sqrt(step: int, *, warmup: int, total: int, timescale: int | None = None) -> float:
    timescale = timescale or warmup or 10_000
    return _rising(step, warmup) if step < warmup else 1.0 / math.sqrt((step + timescale - warmup) / timescale)


def _cosine_to_floor(
    step: int,
    *,
    warmup: int,
    total: int,
    peak: float,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
) -> float:
    floor = _floor(peak, min_lr, min_lr_rate)
    if step < warmup:
        return _rising(step, warmup)
    factor = 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * _progress(step, warmup, total)))
    return max(0.0, factor * (1 - floor) + floor)


def _cosine_from_floor_to_floor(
    step: int,
    *,
    warmup: int,
    total: int,
    peak: float,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
) -> float:
    floor = _floor(peak, min_lr, min_lr_rate)
    if step >= warmup:
        # As in the reference, this one is a step ahead of `cosine_with_min_lr`.
        return _cosine_to_floor(
            step + 1, warmup=warmup, total=total, peak=peak, num_cycles=num_cycles, min_lr_rate=floor
        )
    if warmup_lr_rate is None:
        return (step + 1.0) / max(1.0, warmup)
    return warmup_lr_rate + (1.0 - warmup_lr_rate) * step / max(1, warmup - 1)


def _floor(peak: float, min_lr: float | None, min_lr_rate: float | None) -> float:
    if (min_lr is None) == (min_lr_rate is None):
        raise ArgumentError("lr_scheduler_kwargs needs exactly one of min_lr (a rate) and min_lr_rate (a share)")
    return min_lr / peak if min_lr is not None else float(min_lr_rate or 0.0)


def _stable(
    step: int,
    *,
    warmup: int,
    total: int,
    num_decay_steps: int,
    num_stable_steps: int | None = None,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: float = 0.0,
    num_cycles: float = 0.5,
) -> float:
    """Warm-up, plateau, decay (Hu et al. 2024, MiniCPM)."""
    stable = num_stable_steps if num_stable_steps is not None else total - warmup - num_decay_steps
    if step < warmup:
        rise = _shape(warmup_type, step / max(1, warmup), num_cycles)
        return max(0.0, rise * (1.0 - min_lr_ratio) + min_lr_ratio)
    if step < warmup + stable:
        return 1.0
    if step < warmup + stable + num_decay_steps:
        done = (step - warmup - stable) / max(1, num_decay_steps)
        fall = _shape(decay_type, 1.0 - done, num_cycles) if decay_type != "cosine" else _cosine_fall(done, num_cycles)
        return max(0.0, fall * (1.0 - min_lr_ratio) + min_lr_ratio)
    return min_lr_ratio


def _cosine_fall(done: float, num_cycles: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * done))


def _shape(kind: str, done: float, num_cycles: float) -> float:
    match kind:
        case "linear":
            return done
        case "cosine":
            return 0.5 * (1.0 - math.cos(math.pi * done))
        case "1-sqrt":
            return 1 - math.sqrt(1.0 - done)
    raise ArgumentError(f"warmup_type or decay_type {kind!r}; expected 'linear', 'cosine' or '1-sqrt'")


# Name → factor; None: a scheduler of torch that looks at a metric.
SCHEDULES: dict[str, Callable[..., float] | None] = {
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _restarts,
    "polynomial": _polynomial,
    "constant": _constant,
    "constant_with_warmup": _constant_after_warmup,
    "inverse_sqrt": _inverse_sqrt,
    "reduce_lr_on_plateau": None,
    "cosine_with_min_lr": _cosine_to_floor,
    "cosine_warmup_with_min_lr": _cosine_from_floor_to_floor,
    "warmup_stable_decay": _stable,
}
_OF_THE_PEAK = ("polynomial", "cosine_with_min_lr", "cosine_warmup_with_min_lr")


def get_scheduler(
    name: str,
    optimizer: Optimizer,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    scheduler_specific_kwargs: dict[str, Any] | None = None,
) -> LRScheduler | ReduceLROnPlateau:
    """The schedule `name` for an optimiser, whose rates are the peak.

    Args:
        num_warmup_steps: steps of rising rate.
        num_training_steps: steps of the whole run.
        scheduler_specific_kwargs: what else the schedule takes: `num_cycles`, `lr_end`, `power`, `timescale`, `min_lr`,
            `min_lr_rate`, `num_decay_steps`, …

    Raises:
        ArgumentError: an unknown name or option; steps missing.
    """
    name = getattr(name, "value", name)
    options = dict(scheduler_specific_kwargs or {})
    if name not in SCHEDULES:
        raise ArgumentError(f"no schedule {name!r}; there are {', '.join(SCHEDULES)}")
    factor = SCHEDULES[name]
    if factor is None:
        return ReduceLROnPlateau(optimizer, **options)
    bounded = name not in ("constant", "constant_with_warmup", "inverse_sqrt", "warmup_stable_decay")
    if num_training_steps is None and bounded:
        raise ArgumentError(f"the schedule {name!r} needs num_training_steps")
    if name in _OF_THE_PEAK:
        options["peak"] = optimizer.defaults["lr"]
    whole = partial(factor, warmup=num_warmup_steps or 0, total=num_training_steps or 0, **options)
    try:
        return LambdaLR(optimizer, whole)
    except TypeError as error:
        raise ArgumentError(f"lr_scheduler_kwargs {options} don't fit the schedule {name!r}: {error}") from None
