"""Scenes with boxes: objects of their own part alone, in boxes that are exactly their ink's."""

import numpy as np
import pytest
import torch
from test_images import grey_arrays, grey_files, write

from orthobench.data import boxes, digit_boxes, fashion_boxes
from orthobench.data.boxes import DIGITS, LARGEST_OVERLAP
from orthobench.studies.loopback import source_of

COUNTS = {"train": 30, "pool": 20}


@pytest.fixture
def alone(monkeypatch):
    """Scenes without noise."""
    monkeypatch.setattr(boxes, "NOISE", 0)


def of_scene(scenes, index):
    rows = slice(*scenes.offsets[index : index + 2])
    return scenes.images[index, 0], scenes.boxes[rows], scenes.labels[rows]


def overlap(one, other):
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (one, other)]
    return max(width, 0) * max(height, 0) / min(areas)


def test_boxes_hold_the_ink_of_an_object_and_touch_it_on_all_sides(alone):
    kind = DIGITS._replace(clutter=0, most=1)
    (scenes, _) = digit_boxes(0, kind=kind, **COUNTS)
    for index in range(COUNTS["train"]):
        image, (box,), _ = of_scene(scenes, index)
        rows, columns = (np.flatnonzero((image >= kind.threshold).any(axis)) for axis in (1, 0))
        assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_scenes_have_one_to_four_objects_of_three_sizes_that_overlap_little():
    scenes, _ = digit_boxes(1, train=120, pool=1)
    assert scenes.images.shape == (120, 1, 48, 48)
    assert scenes.images.dtype == torch.float32
    assert 0 <= scenes.images.min() <= scenes.images.max() <= 1
    assert set(np.diff(scenes.offsets)) == {1, 2, 3, 4}
    assert set(scenes.labels) == set(range(10))
    assert ((scenes.boxes >= 0) & (scenes.boxes <= 48)).all()
    heights = scenes.boxes[:, 3] - scenes.boxes[:, 1]
    assert np.median(heights[heights > 14]) == 16
    assert {8, 16} < set(heights)
    for index in range(120):
        own = of_scene(scenes, index)[1].tolist()
        assert all(overlap(one, other) <= LARGEST_OVERLAP for one in own for other in own if one is not other)


def test_parts_show_other_objects(monkeypatch):
    seen = []

    def compose(objects, kind, generators):
        seen.append({each.numpy().tobytes() for each in objects.inputs})
        return original(objects, kind, generators)

    original = boxes._compose
    monkeypatch.setattr(boxes, "_compose", compose)
    digit_boxes(0, train=1, pool=1)
    train, pool = seen
    assert not train & pool
    assert 0.4 < len(train) / (len(train) + len(pool)) < 0.5


def test_a_scene_depends_on_the_seed_its_part_and_its_number_alone():
    short, long, other = (digit_boxes(seed, train=4, pool=count)[1] for seed, count in ((3, 5), (3, 9), (4, 5)))
    assert torch.equal(short.images, long.images[:5])
    np.testing.assert_array_equal(short.boxes, long.boxes[: len(short.boxes)])
    assert not torch.equal(short.images, other.images)
    assert not torch.equal(digit_boxes(3, train=5, pool=1)[0].images, short.images)


def test_garments_are_of_the_parts_of_their_files(tmp_path):
    files = grey_files(**grey_arrays())
    write(tmp_path, files)
    train, pool = fashion_boxes(0, tmp_path, source=source_of(files), train=3, pool=2)
    assert train.images.shape == (3, 1, 96, 96)
    assert len(pool.images) == 2
    sizes = train.boxes[:, 2:] - train.boxes[:, :2]
    assert ((sizes > 20) & (sizes <= 28)).all()  # noise fills a tile


@pytest.mark.parametrize("counts", [{"train": 0}, {"pool": 0}, {"pool": 2.5}])
def test_impossible_counts_are_errors(counts):
    with pytest.raises((TypeError, ValueError), match=next(iter(counts))):
        digit_boxes(0, **COUNTS | counts)
