"""Adult: does a person of the census of 1994 earn more than 50,000 dollars a year? From the UCI repository's files."""

import torch

from orthobench.data.download import Source, fetch
from orthobench.data.images import TUNING_SHARE
from orthobench.data.parts import Examples, Parts, remove_overlap, split_by_hash

ADULT = Source(
    "adult",
    ("https://archive.ics.uci.edu/ml/machine-learning-databases/adult/",),
    {
        "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
    },
    "CC BY 4.0",
)

UNKNOWN = "?"
MORE, LESS = ">50K", "<=50K"

# The columns in their order: a number with the largest value that its documentation allows for, the categories that it
# lists (adult.names), or None for what is left out: a census weight, and the education, which is a number too.
COUNTRIES = (
    "United-States Cambodia England Puerto-Rico Canada Germany Outlying-US(Guam-USVI-etc) India Japan "
    "Greece South China Cuba Iran Honduras Philippines Italy Poland Jamaica Vietnam Mexico Portugal "
    "Ireland France Dominican-Republic Laos Ecuador Taiwan Haiti Columbia Hungary Guatemala Nicaragua "
    "Scotland Thailand Yugoslavia El-Salvador Trinadad&Tobago Peru Hong Holand-Netherlands "
)
COLUMNS = {
    "age": 100,
    "workclass": [
        "Private",
        "Self-emp-not-inc",
        "Self-emp-inc",
        "Federal-gov",
        "Local-gov",
        "State-gov",
        "Without-pay",
        "Never-worked",
    ],
    "fnlwgt": None,
    "education": None,
    "education-num": 16,
    "marital-status": [
        "Married-civ-spouse",
        "Divorced",
        "Never-married",
        "Separated",
        "Widowed",
        "Married-spouse-absent",
        "Married-AF-spouse",
    ],
    "occupation": [
        "Tech-support",
        "Craft-repair",
        "Other-service",
        "Sales",
        "Exec-managerial",
        "Prof-specialty",
        "Handlers-cleaners",
        "Machine-op-inspct",
        "Adm-clerical",
        "Farming-fishing",
        "Transport-moving",
        "Priv-house-serv",
        "Protective-serv",
        "Armed-Forces",
    ],
    "relationship": ["Wife", "Own-child", "Husband", "Not-in-family", "Other-relative", "Unmarried"],
    "race": ["White", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other", "Black"],
    "sex": ["Female", "Male"],
    "capital-gain": 99_999,
    "capital-loss": 9_999,
    "hours-per-week": 100,
    "native-country": COUNTRIES.split(),
}


def adult(folder=None, *, source=ADULT):
    """Adult (Becker and Kohavi, 1996): 32 561 training and 16 281 test examples with 88 features in two classes.

    Numbers are divided by the largest value that their documentation allows for, categories are indicators of those
    that it lists, so that no statistic of the data is in the features; what is unknown is zero. Held out are the test
    examples; tuning is a tenth of the others, chosen by a hash of the features. Examples that are also in a later part,
    feature by feature, are dropped from the earlier one.

    Parameters
    ----------
    folder : str or path-like, optional
        Where the files are, or go to: see `orthobench.data.fetch`.
    source : Source

    Returns
    -------
    Parts of Examples
        Features (n, 88), float32, in [0, 1]; labels (n,), int64, 1 for more than 50,000 dollars.

    Raises
    ------
    ConnectionError, ValueError
        If a file can't be had, or isn't what it should be.
    """
    official, held_out = (_read(fetch(source, name, folder)) for name in ("adult.data", "adult.test"))
    train, tuning = split_by_hash(official.inputs, official.targets, (1 - TUNING_SHARE, TUNING_SHARE))
    return remove_overlap(Parts(train, tuning, held_out))


def _read(path):
    rows = [line.rstrip(". ").split(", ") for line in path.read_text(encoding="ascii").splitlines()]
    # The test file begins with a line that is no example; both end with an empty one.
    kept = [(number, row) for number, row in enumerate(rows, start=1) if len(row) == len(COLUMNS) + 1]
    features = [_features(row[:-1], path, number) for number, row in kept]
    labels = [_label(row[-1], path, number) for number, row in kept]
    return Examples(torch.tensor(features, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64))


def _features(row, path, number):
    found = []
    for (name, kind), text in zip(COLUMNS.items(), row, strict=True):
        if isinstance(kind, int):
            if not text.isdecimal() or int(text) > kind:
                raise ValueError(f"{path}, line {number}: {name} is {text!r}: expected an integer in 0..{kind}")
            found.append(int(text) / kind)
        elif kind is not None:
            if text not in (*kind, UNKNOWN):
                raise ValueError(f"{path}, line {number}: {name} is {text!r}: expected one of {', '.join(kind)}")
            found += [float(text == each) for each in kind]
    return found


def _label(text, path, number):
    if text not in (MORE, LESS):
        raise ValueError(f"{path}, line {number}: the class is {text!r}: expected {MORE} or {LESS}")
    return int(text == MORE)
