"""The table of Adult: features from its documentation alone, parts, and files that aren't as they should be."""

import hashlib

import pytest
import torch

from orthobench.data.adult import ADULT, COLUMNS, adult
from orthobench.data.download import Exactly, Source

ROW = (
    "{age}, {work}, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, "
    "{land}, {label}"
)


def row(age=39, work="State-gov", land="United-States", label="<=50K"):
    return ROW.format(age=age, work=work, land=land, label=label)


def loaded(tmp_path, train, test):
    files = {"adult.data": "\n".join(train) + "\n\n", "adult.test": "|1x3 Cross validator\n" + "\n".join(test) + "\n\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    return adult(Exactly(tmp_path), source=Source("adult", (), hashes, "none"))


def test_features_are_scaled_by_public_ranges_and_the_unknown_is_zero(tmp_path):
    parts = loaded(tmp_path, [row(), row(age=50, work="?", label=">50K")], [row(age=90, land="Peru", label=">50K.")])
    assert parts.held_out.inputs.shape == (1, 88)
    assert parts.held_out.targets.tolist() == [1]
    both = torch.cat([parts.train.inputs, parts.tuning.inputs])
    labels = torch.cat([parts.train.targets, parts.tuning.targets])
    young, old = both[both[:, 0].argsort()]
    assert sorted(labels.tolist()) == [0, 1]
    assert float(young[0]) == pytest.approx(0.39)
    workclass = slice(1, 1 + len(COLUMNS["workclass"]))
    assert young[workclass].tolist() == [float(each == "State-gov") for each in COLUMNS["workclass"]]
    assert float(old[workclass].sum()) == 0
    assert float(young.min()) == 0
    assert float(young.max()) == 1
    # Seven categories, and five numbers.
    assert int((young == 1).sum()) == 7
    assert young.sum() == pytest.approx(7 + 0.39 + 13 / 16 + 2174 / 99_999 + 0.4, abs=1e-5)


def test_examples_that_are_held_out_are_dropped_from_training(tmp_path):
    parts = loaded(
        tmp_path, [row(age=age) for age in range(20, 60)], [row(age=age, label="<=50K.") for age in (30, 31)]
    )
    assert sum(map(len, parts)) == 40
    ages = {round(100 * float(age)) for part in parts[:2] for age in part.inputs[:, 0]}
    assert ages == set(range(20, 60)) - {30, 31}
    assert len(parts.train) > len(parts.tuning) > 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"age": -3}, "line 1: age is '-3': expected an integer in 0..100"),
        ({"age": 101}, "line 1: age is '101'"),
        ({"land": "Atlantis"}, "line 1: native-country is 'Atlantis'"),
        ({"label": "rich"}, "line 1: the class is 'rich'"),
    ],
)
def test_what_the_documentation_does_not_list_is_an_error(tmp_path, bad, message):
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path, [row(**bad)], [row()])


def test_the_files_have_checksums():
    assert set(ADULT.files) == {"adult.data", "adult.test"}
    assert all(len(each) == 64 for each in ADULT.files.values())
