"""FineWeb (Penedo et al. 2024) in GPT-2's tokens, as modded-nanogpt compares optimizers on it."""

from orthobench.data.download import fetch
from orthobench.data.fineweb_files import FINEWEB, HELD_OUT_FILE, TRAIN_FILE, TRAIN_SHA256
from orthobench.data.parts import Parts
from orthobench.data.token_files import MappedWindows, map_tokens
from orthobench.models.checks import check_integer

VOCABULARY = 50257
SHARD_TOKENS = 100_000_000  # of each training shard but the last, which has 55,324,043
HELD_OUT_TOKENS = 10_485_760
TUNING_SHARE = 10  # one window in so many of the last shard
SHARDS = 18  # what 3,250 steps of 524,288 tokens take


def fineweb(context, folder=None, shards=SHARDS, *, source=FINEWEB):
    """FineWeb's sample of 10 billion tokens, of which a shard of 200 MB holds 100 million.

    A document begins with token 50256. Windows are a context apart and none goes from one shard to the next. The last
    tenth of the windows of the last shard that is asked for is the tuning part: with another number of shards it is
    another one. Held out are the first 10,485,760 tokens of the official validation shard (all, if it has fewer), as
    in modded-nanogpt.

    Parameters
    ----------
    context : int
        Tokens in a window, at least 1.
    folder : str or path-like, optional
        The folder of all data sets, where `fineweb10B-gpt2/` has the shards, or gets them; see `fetch`. Each is read
        once to check its SHA-256, and is never loaded whole.
    shards : int
        How many training shards, in 1..103; see `shards_for`.
    source : Source
        Where it comes from, with the same names of files.

    Returns
    -------
    Parts of MappedWindows
        Of tokens below 50257. They stay in the files.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed, or a file is not one of GPT-2's tokens.
    ValueError, ConnectionError, OSError
        As `fetch`.
    """
    context = check_integer("context", context, 1)
    shards = check_integer("shards", shards, 1, len(TRAIN_SHA256))
    names = [HELD_OUT_FILE, *(TRAIN_FILE.format(number) for number in range(1, shards + 1))]
    held_out, *train = (map_tokens(fetch(source, name, folder)) for name in names)
    *whole, last = train
    windows = (len(last) - 1) // context
    if windows < 2:
        raise ValueError(
            f"{last.filename} has {len(last)} tokens, less than two windows of {context}, one to train on and one to "
            "tune on: shorten context"
        )
    border = context * (windows - max(1, windows // TUNING_SHARE))
    stretches = (*whole, last[: border + 1]), (last[border:],), (held_out[: HELD_OUT_TOKENS + 1],)
    return Parts(*(MappedWindows(each, context, VOCABULARY) for each in stretches))


def shards_for(windows, context):
    """Return the least number of shards whose training part has so many windows; all of them, if none is enough.

    Parameters
    ----------
    windows, context : int
        Positive; of how many tokens.

    Returns
    -------
    int
        In 1..103.
    """
    in_a_shard = (SHARD_TOKENS - 1) // context
    shards = -(-(windows + in_a_shard // TUNING_SHARE) // in_a_shard)
    return min(shards, len(TRAIN_SHA256))
