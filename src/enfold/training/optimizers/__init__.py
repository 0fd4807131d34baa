"""Optimisers by name, and which weights decay."""

from enfold.training.optimizers.adafactor import Adafactor
from enfold.training.optimizers.lion import Lion
from enfold.training.optimizers.muon import Muon
from enfold.training.optimizers.named import OPTIMIZERS, make_optimizer, weight_groups

__all__ = ["OPTIMIZERS", "Adafactor", "Lion", "Muon", "make_optimizer", "weight_groups"]
