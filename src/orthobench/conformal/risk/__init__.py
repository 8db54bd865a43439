"""Conformal risk control: parameters at which expected losses of any kind are at most a level, in finite samples."""

from .losses import MonotoneLosses, StepLosses, conformal_risk_threshold
from .ltt import hoeffding_bentkus, learn_then_test
from .sequential import LossTable, SeqCRC, SequentialLosses

__all__ = [
    "LossTable",
    "MonotoneLosses",
    "SeqCRC",
    "SequentialLosses",
    "StepLosses",
    "conformal_risk_threshold",
    "hoeffding_bentkus",
    "learn_then_test",
]
