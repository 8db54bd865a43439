"""Digits beside a block that says nothing: every pixel is where it belongs, and the side says nothing either."""

import pytest
import torch

from orthobench.data import check_disjoint, digit_blocks, digits_parts, null_block_mask

KINDS = ["empty", "frame"]


@pytest.mark.parametrize("null", KINDS)
def test_one_half_of_each_image_is_its_digit_and_the_other_is_the_null_block(null):
    blocks, alone = digit_blocks(null), digits_parts()
    for part, digits in zip(blocks, alone, strict=True):
        assert part.inputs.shape == (len(digits), 1, 8, 16)
        assert part.inputs.dtype == torch.float32
        assert torch.equal(part.targets, digits.targets)
        mask = null_block_mask(part.inputs, null)
        shown = part.inputs[:, 0][~mask].view(-1, 8, 8)
        assert torch.equal(shown, digits.inputs[:, 0])
        others = part.inputs[:, 0][mask].view(-1, 8, 8)
        assert bool((others == others[0]).all())
        assert float(others[0].sum()) == {"empty": 0, "frame": 20}[null]


@pytest.mark.parametrize("null", KINDS)
def test_the_mask_is_one_whole_half(null):
    mask = null_block_mask(digit_blocks(null).held_out.inputs, null)
    halves = mask.unflatten(2, (2, 8)).permute(0, 2, 1, 3).flatten(2)
    assert bool((halves.all(2) | ~halves.any(2)).all())
    assert bool((halves[:, 0, 0] != halves[:, 1, 0]).all())


def test_the_frame_has_about_the_ink_of_a_digit():
    digits = digits_parts().train.inputs.flatten(1).sum(1)
    assert abs(20 - float(digits.mean())) < float(digits.std())


def test_the_side_is_even_chance_in_every_class_and_the_seed_decides_it():
    part = digit_blocks(seed=3).train
    on_the_left = ~null_block_mask(part.inputs)[:, 0, 0]
    for label in range(10):
        own = on_the_left[part.targets == label].double()
        assert abs(float(own.mean()) - 0.5) < 4 * 0.5 / len(own) ** 0.5
    assert torch.equal(part.inputs, digit_blocks(seed=3).train.inputs)
    assert not torch.equal(part.inputs, digit_blocks(seed=4).train.inputs)


def test_no_image_is_in_two_parts():
    check_disjoint(digit_blocks())


def test_what_is_no_image_of_blocks_is_refused():
    with pytest.raises(ValueError, match="null is 'grey': give empty or frame"):
        digit_blocks("grey")
    images = digit_blocks("frame").held_out.inputs
    with pytest.raises(ValueError, match="image 0 has 0 blocks that are 'empty'"):
        null_block_mask(images, "empty")
    with pytest.raises(ValueError, match="image 1 has 2 blocks"):
        null_block_mask(torch.cat([digit_blocks().held_out.inputs[:1], torch.zeros(1, 1, 8, 16)]))
    with pytest.raises(ValueError, match=r"\(290, 1, 8, 8\): give"):
        null_block_mask(digits_parts().held_out.inputs)
    with pytest.raises(ValueError, match="images are a list: give a tensor"):
        null_block_mask([1])
