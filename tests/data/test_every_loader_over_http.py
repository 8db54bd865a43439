"""Every loader, from a server that sends less, something else, or nothing: no data but the right ones."""

import pytest
from test_fineweb import FILES as FINEWEB_FILES
from test_images import cifar_arrays, cifar_files, grey_arrays, grey_files, tar
from test_segmented import pets, pets_files, voc, voc_files

from orthobench.data import (
    cifar10,
    digest,
    fashion_mnist,
    fashion_scenes,
    fineweb,
    images,
    mnist,
    oxford_pets,
    shakespeare,
    voc2012,
)
from orthobench.data.texts import SHAKESPEARE_FILE
from orthobench.studies.loopback import serving, sha256, source_of

TEXT = b"".join(b"Speak %d, speak.\n" % line for line in range(3000))


# From each loader's name: how it is called, and the files that it downloads.
LOADERS = {
    "mnist": (mnist, grey_files(**grey_arrays())),
    "fashion_mnist": (fashion_mnist, grey_files(**grey_arrays())),
    "cifar10": (cifar10, {images.CIFAR10_ARCHIVE: tar(cifar_files(cifar_arrays()))}),
    "fashion_scenes": (
        lambda folder, source: fashion_scenes(0, folder, train=2, tuning=2, held_out=2, source=source),
        grey_files(**grey_arrays()),
    ),
    "oxford_pets": (lambda folder, source: oxford_pets(folder, 32, source=source), pets_files(*pets(12, 2)[:2])),
    "voc2012": (lambda folder, source: voc2012(folder, 32, source=source), voc_files(voc(12, 2)[0])),
    "shakespeare": (lambda folder, source: shakespeare(16, folder, source=source), {SHAKESPEARE_FILE: TEXT}),
    "fineweb": (lambda folder, source: fineweb(10, folder, 2, source=source), FINEWEB_FILES),
}
DAMAGE = {"truncated": lambda content: content[: len(content) // 2], "another": lambda content: content[::-1]}
CASES = [(name, file) for name, (_, files) in LOADERS.items() for file in files]


class Place:
    """A loader, its files on a server, and the folder that they are downloaded into."""

    def __init__(self, name, server, folder):
        self.load, self.files = LOADERS[name]
        self.server, self.folder = server, folder
        self.source = source_of(self.files, server.url("here"))
        server.files = {f"here/{file}": content for file, content in self.files.items()}

    def __call__(self):
        return [digest(part) for part in self.load(self.folder, source=self.source)]

    def path(self, file):
        return self.folder / "made-up" / file


@pytest.fixture
def place(request, monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ORTHOBENCH_OFFLINE", raising=False)
    with serving() as server:
        yield Place(request.param, server, tmp_path)


def whole(place, tmp_path_factory):
    """The digests of the parts, from files that were put there by hand."""
    folder = tmp_path_factory.mktemp("by_hand")
    (folder / "made-up").mkdir()
    for file, content in place.files.items():
        (folder / "made-up" / file).write_bytes(content)
    return [digest(part) for part in place.load(folder, source=source_of(place.files))]


@pytest.mark.parametrize("place", LOADERS, indirect=True)
def test_a_download_gives_the_data_of_the_files(place, tmp_path_factory):
    assert place() == whole(place, tmp_path_factory)


@pytest.mark.parametrize(("place", "file"), CASES, indirect=["place"])
def test_a_file_that_breaks_off_is_continued(place, file, tmp_path_factory):
    position = list(place.files).index(file)
    before = [len(content) for content in place.files.values()][:position]
    place.server.breaks = [*before, len(place.files[file]) // 2]
    assert place() == whole(place, tmp_path_factory)
    assert any(wanted for _, wanted in place.server.asked)


@pytest.mark.parametrize(("place", "file"), CASES, indirect=["place"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_another_content_is_refused_with_both_checksums_and_the_right_one_gets_through_later(
    place, file, damage, tmp_path_factory
):
    damaged = DAMAGE[damage](place.files[file])
    place.server.files[f"here/{file}"] = damaged
    with pytest.raises(ConnectionError) as caught:
        place()
    for named in (file, str(place.path(file).parent), sha256(place.files[file]), sha256(damaged)):
        assert named in str(caught.value)
    assert not place.path(file).exists()
    place.server.files[f"here/{file}"] = place.files[file]
    assert place() == whole(place, tmp_path_factory)


@pytest.mark.parametrize(("place", "file"), CASES, indirect=["place"])
def test_a_missing_file_is_named_with_its_checksum_and_where_it_belongs(place, file):
    del place.server.files[f"here/{file}"]
    with pytest.raises(ConnectionError, match="404") as caught:
        place()
    for named in (file, str(place.path(file).parent), sha256(place.files[file]), "ORTHOBENCH_DATA"):
        assert named in str(caught.value)


@pytest.mark.parametrize(("place", "file"), CASES, indirect=["place"])
def test_off_line_a_missing_file_is_named_with_its_checksum(place, file, monkeypatch):
    place()
    place.path(file).unlink()
    monkeypatch.setenv("ORTHOBENCH_OFFLINE", "1")
    place.server.asked.clear()
    with pytest.raises(ConnectionError, match="ORTHOBENCH_OFFLINE forbids") as caught:
        place()
    for named in (str(place.path(file)), sha256(place.files[file])):
        assert named in str(caught.value)
    assert not place.server.asked


@pytest.mark.parametrize(("place", "file"), CASES, indirect=["place"])
def test_a_damaged_copy_is_refused_and_left_as_it_is(place, file):
    place()
    place.path(file).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="move it away") as caught:
        place()
    for named in (str(place.path(file)), sha256(b"damaged"), sha256(place.files[file])):
        assert named in str(caught.value)
    assert place.path(file).read_bytes() == b"damaged"
