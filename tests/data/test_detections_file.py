"""Stored detections: both kinds of files say the same, and what is no such file says so; nothing in it is run."""

import json

import numpy as np
import pooch
import pytest

from orthobench.conformal.detection import Detections, Truths
from orthobench.data import stored_detections
from orthobench.data.detections_file import ARRAYS
from orthobench.harness.detection import StoredDataset
from orthobench.harness.detection.datasets import SPLITS

IMAGES = [{"id": 7, "width": 20, "height": 10}, {"id": 3, "width": 8, "height": 8}, {"id": 5, "width": 6, "height": 9}]
ANNOTATIONS = {
    "images": IMAGES,
    "categories": [{"id": 18}, {"id": 2}],
    "annotations": [
        {"image_id": 3, "bbox": [1, 2, 3, 4], "category_id": 18, "iscrowd": 0},
        {"image_id": 7, "bbox": [0, 0, 5, 5], "category_id": 2},
        {"image_id": 7, "bbox": [9, 1, 5, 5], "category_id": 18},
        {"image_id": 7, "bbox": [0, 0, 20, 10], "category_id": 2, "iscrowd": 1},
    ],
}
RESULTS = [
    {"image_id": 3, "bbox": [1, 2, 3, 3], "category_id": 18, "score": 0.5},
    {"image_id": 7, "bbox": [0, 0, 4, 5], "category_id": 2, "score": 0.75},
]
# The same as arrays.
ARRAY_FILE = {
    "pred_boxes": np.array([[0, 0, 4, 5], [1, 2, 4, 5]], dtype=np.float32),
    "pred_scores": np.array([0.75, 0.5]),
    "pred_probabilities": np.array([[0.9, 0.1], [0.2, 0.8]]),
    "pred_offsets": np.array([0, 1, 2, 2]),
    "true_boxes": np.array([[0, 0, 5, 5], [9, 1, 14, 6], [1, 2, 4, 6]], dtype=np.float32),
    "true_labels": np.array([0, 1, 1]),
    "true_offsets": np.array([0, 2, 3, 3]),
    "image_sizes": np.array([[20, 10], [8, 8], [6, 9]]),
}


def digest(path):
    return pooch.file_hash(path)


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path, digest(path)


def write_arrays(path, **changed):
    np.savez(path, **{name: each for name, each in (ARRAY_FILE | changed).items() if each is not None})
    return path, digest(path)


def of_coco(folder, results=RESULTS, annotations=ANNOTATIONS):
    return stored_detections(*write_json(folder / "r.json", results), *write_json(folder / "a.json", annotations))


def dataset(folder, file, sha256, splits=2, calibration=1, least_score=None):
    class Dataset(StoredDataset):
        parameters = {**SPLITS, "file": [""], "sha256": [""]}

    made = Dataset.__new__(Dataset)
    vars(made).update(file=file, sha256=sha256, annotations=None, annotations_sha256=None)
    vars(made).update(splits=splits, calibration=calibration, least_score=least_score)
    return made.task(0)


def test_cocos_and_numpys_files_say_the_same(tmp_path):
    arrays, coco = stored_detections(*write_arrays(tmp_path / "f.npz")), of_coco(tmp_path)
    assert coco.keys() == set(ARRAYS) - {"pred_probabilities"}  # never made of one class a box
    for name, values in coco.items():
        np.testing.assert_array_equal(values, arrays[name], err_msg=name)
    Detections(coco["pred_boxes"], coco["pred_scores"], coco["pred_offsets"], None, coco["image_sizes"])
    Truths(coco["true_boxes"], coco["true_offsets"], coco["true_labels"])


def test_another_file_than_the_digest_says_is_an_error(tmp_path):
    path, _ = write_arrays(tmp_path / "f.npz")
    with pytest.raises(ValueError, match="damaged or another file"):
        stored_detections(path, "0" * 64)
    with pytest.raises(ValueError, match=r"sha256 of .* is missing"):
        stored_detections(path, "")
    with pytest.raises(FileNotFoundError, match="file is missing: give the path"):
        stored_detections("", "0" * 64)
    with pytest.raises(FileNotFoundError, match="is not there"):
        stored_detections(tmp_path / "other.npz", "0" * 64)


def test_what_a_file_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no true_labels"):
        stored_detections(*write_arrays(tmp_path / "f.npz", true_labels=None))
    without_score = {name: value for name, value in RESULTS[0].items() if name != "score"}
    for lacking, results in (("score", [without_score]), ("99", [RESULTS[0] | {"image_id": 99}])):
        with pytest.raises(ValueError, match=f"isn't of COCO's form.*{lacking}"):
            of_coco(tmp_path, results)
    with pytest.raises(ValueError, match=r"isn't of COCO's form.*categories"):
        of_coco(tmp_path, annotations={"images": IMAGES})


def test_what_is_wrong_with_an_entry_is_told(tmp_path):
    for wrong in ({"bbox": [1, 2, 3]}, {"score": "high"}, {"score": None}):
        with pytest.raises(ValueError, match="isn't of COCO's form"):
            of_coco(tmp_path, [RESULTS[0] | wrong])
    with pytest.raises(ValueError, match="has an image twice"):
        of_coco(tmp_path, annotations=ANNOTATIONS | {"images": [*IMAGES, IMAGES[0]]})


def test_a_detector_may_find_nothing(tmp_path):
    found = of_coco(tmp_path, results=[])
    assert found["pred_boxes"].shape == (0, 4)
    assert found["pred_offsets"].tolist() == [0, 0, 0, 0]
    assert of_coco(tmp_path, annotations=ANNOTATIONS | {"annotations": []})["true_labels"].dtype == np.int64


def test_half_a_file_and_pickles_are_errors(tmp_path):
    path, _ = write_arrays(tmp_path / "f.npz")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="file, or half of one"):
        stored_detections(path, digest(path))
    with pytest.raises(ValueError, match="can't be read"):
        stored_detections(*write_arrays(tmp_path / "g.npz", pred_scores=np.array([0.5, None], dtype=object)))
    (tmp_path / "h.json").write_text("[{")
    with pytest.raises(ValueError, match="is no JSON"):
        stored_detections(tmp_path / "h.json", digest(tmp_path / "h.json"), *write_json(tmp_path / "a.json", {}))
    (tmp_path / "p.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ValueError, match="file with its annotations"):
        stored_detections(tmp_path / "p.pkl", digest(tmp_path / "p.pkl"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pred_scores": np.array([0.5, np.nan])}, "scores must be finite"),
        ({"pred_offsets": np.array([0, 1, 2, 5])}, "offsets must rise from 0 to the number of boxes"),
        ({"pred_boxes": np.array([[4, 0, 0, 5], [1, 2, 4, 5]])}, "no negative size"),
        ({"pred_probabilities": np.array([[0.9, 0.3], [0.2, 0.8]])}, "sum to 1"),
        ({"image_sizes": np.array([[20, 10]])}, "sizes must be"),
        ({"true_boxes": np.zeros((3, 4))}, "positive area"),
        ({"true_labels": np.array([1, 2, 2])}, "labels must be in 0..1, the detector's classes, got 2"),
        ({"true_offsets": np.array([0, 2, 3, 3, 3])}, "detections are of 3 images, truths of 4"),
        (
            {"true_boxes": np.zeros((0, 4)), "true_labels": np.zeros(0, int), "true_offsets": np.zeros(4, int)},
            "any true",
        ),
        ({"pred_scores": np.array(["a", "b"])}, "pred_scores of .* write an array of real numbers"),
    ],
)
def test_what_no_detector_finds_is_an_error_of_the_data_set(tmp_path, changed, message):
    with pytest.raises((TypeError, ValueError), match=message):
        dataset(tmp_path, *write_arrays(tmp_path / "f.npz", **changed))


def test_of_images_with_the_same_detections_one_is_left(tmp_path):
    twice = {
        **ARRAY_FILE,
        "pred_boxes": np.tile([0, 0, 4, 5], (3, 1)),
        "pred_scores": np.array([0.75, 0.75, 0.5]),
        "pred_probabilities": np.tile([0.9, 0.1], (3, 1)),
        "pred_offsets": np.array([0, 1, 2, 3]),
    }
    task = dataset(tmp_path, *write_arrays(tmp_path / "f.npz", **twice))
    assert len(task.detections) == len(task.truths) == 2
    assert task.detections.scores.tolist() == [0.75, 0.5]
    twice["pred_probabilities"] = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1]])  # of another image
    assert len(dataset(tmp_path, *write_arrays(tmp_path / "f.npz", **twice)).detections) == 3


def test_boxes_below_a_least_score_are_left_out_of_all_images(tmp_path):
    written = write_arrays(tmp_path / "f.npz")
    every, some = (dataset(tmp_path, *written, least_score=least).detections for least in (None, 0.6))
    assert every.scores.tolist() == [0.75, 0.5]
    assert some.scores.tolist() == [0.75]
    assert len(some) == len(every)


@pytest.mark.parametrize("least", [float("nan"), "a"])
def test_a_least_score_that_is_no_number_is_an_error(tmp_path, least):
    with pytest.raises(ValueError, match="the least score must be a number, got"):
        dataset(tmp_path, *write_arrays(tmp_path / "f.npz"), least_score=least)
