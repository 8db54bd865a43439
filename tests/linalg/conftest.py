"""Fixtures of the tests of orthobench.linalg."""

import pytest
import torch


@pytest.fixture
def has_bfloat16(monkeypatch):
    """Return a function that makes the CPU one with or without instructions for bfloat16, as far as we look."""

    def pretend(answer):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: answer)

    return pretend
