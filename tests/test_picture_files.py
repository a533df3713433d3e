"""Pictures from files: every kind makes one law, parts are disjoint, a change is noticed, and what is wrong is told."""

import gzip
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from near import generator
from PIL import Image

from dmdlab.config import Experiment, InputError
from dmdlab.experiments import load
from dmdlab.lab.evaluate import law_facts
from dmdlab.laws import PARTS, Images, Law, make_law

NETWORK = "teacher.kind=network"


def idx(array: np.ndarray, kind: int = 8, sizes: Sequence[int] | None = None) -> bytes:
    """An IDX file's bytes."""
    shape = array.shape if sizes is None else sizes
    return bytes([0, 0, kind, len(shape)]) + b"".join(s.to_bytes(4, "big") for s in shape) + array.tobytes()


PICTURES = np.random.default_rng(0).integers(0, 256, (21, 4, 4), dtype=np.uint8)
LABELS = np.arange(21, dtype=np.uint8) % 3


def written(path: Path, data: bytes | np.ndarray) -> str:
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        np.save(path, data)
    return str(path)


def rows_of(law: Law) -> list[np.ndarray]:
    """All pictures of each part, (n, d)."""
    found = []
    for part in PARTS:
        held = law.available(part)
        assert held is not None
        x = law.sample(held if part != "train" else 50 * held, generator(), part=part)
        found.append(x.unique(dim=0).numpy())
        assert len(found[-1]) == held
    return found


def test_a_training_set_holds_no_picture_twice_and_the_classes_of_its_own(tmp_path: Path) -> None:
    law = Images(path=written(tmp_path / "p.npy", PICTURES), labels=written(tmp_path / "l.npy", LABELS), side=4)
    x, labels = law.training_set(9, generator())
    assert len(x.unique(dim=0)) == 9
    of = {tuple(p): k for p, k in zip((PICTURES.reshape(21, -1) / 127.5 - 1).round(4).tolist(), LABELS, strict=True)}
    assert labels is not None
    assert [of[tuple(np.round(row, 4))] for row in x.double().numpy().tolist()] == labels.tolist()
    with pytest.raises(InputError, match="9 pictures"):
        law.training_set(10, generator())


def test_parts_are_disjoint_whole_and_made_by_seed(tmp_path: Path) -> None:
    path = written(tmp_path / "p.npy", PICTURES)
    law = Images(path=path, side=4)
    assert [law.available(part) for part in PARTS] == [9, 6, 6]
    together = np.unique(np.concatenate(rows_of(law)), axis=0)
    assert len(together) == 21  # none twice, none lost
    np.testing.assert_allclose(together, np.unique(PICTURES.reshape(21, -1) / 127.5 - 1, axis=0), atol=1e-6)
    again, other = (rows_of(Images(path=path, side=4, seed=seed))[2] for seed in (0, 1))
    np.testing.assert_array_equal(again, rows_of(law)[2])
    assert not np.array_equal(other, again)
    with pytest.raises(InputError, match=r"6 pictures of its 21 in the part 'measure', but 7 .*at most 6"):
        law.sample(7, generator(), part="measure")


def test_as_many_pictures_as_mnists_are_split_as_is_said_and_read_to_the_last(tmp_path: Path) -> None:
    many = np.random.default_rng(0).integers(0, 256, (60_000, 4, 4), dtype=np.uint8)
    law = Images(path=written(tmp_path / "p.npy", many), side=4)
    assert [law.available(part) for part in PARTS] == [40_000, 10_000, 10_000]
    for i in (0, 4095, 4096, 59_999):
        np.testing.assert_allclose(law.rows[i], many[i].flatten() / 127.5 - 1, atol=1e-6)


def test_every_kind_of_file_makes_the_same_law(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(folder / f"{i:03}.png")
    np.savez(tmp_path / "both.npz", images=PICTURES, labels=LABELS)
    labels = written(tmp_path / "l.npy", LABELS.astype(np.int64))
    idx_labels = written(tmp_path / "labels", idx(LABELS))
    sources = [
        (written(tmp_path / "pictures", idx(PICTURES)), idx_labels),
        (written(tmp_path / "pictures.gz", gzip.compress(idx(PICTURES))), idx_labels),
        (written(tmp_path / "p.npy", PICTURES[..., None]), labels),
        (str(tmp_path / "both.npz"), None),
        (str(folder), labels),
    ]
    laws = [Images(path=path, labels=own, side=4) for path, own in sources]
    assert len({law.digest for law in laws}) == 1
    facts = law_facts(laws[0])
    assert (facts["digest"], facts["classes"], facts["shape"]) == (laws[0].digest, 3, [1, 4, 4])
    assert [facts[f"{part}_rows"] for part in PARTS] == [9, 6, 6]
    assert facts["sigma_data"] == pytest.approx(np.sqrt(np.var(PICTURES / 127.5, axis=0).mean()), rel=1e-5)
    x, own = laws[0].sample_labelled(40, generator())
    places = torch.cdist(x, torch.tensor(PICTURES.reshape(21, -1) / 127.5 - 1).float()).argmin(1)
    assert torch.equal(own, torch.from_numpy(LABELS).long()[places])
    for law in laws[1:]:
        assert torch.equal(law.sample_labelled(40, generator())[1], own)
    assert Images(path=sources[0][0], side=4).digest != laws[0].digest  # labels count


def test_a_path_from_home_is_found_and_kept_as_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pictures, labels = written(tmp_path / "p.npy", PICTURES), written(tmp_path / "l.npy", LABELS)
    points = written(tmp_path / "points.npy", PICTURES.reshape(21, -1))

    def made(*words: str) -> Experiment:
        (found,) = load(None, None, words).experiments()
        return found

    few = ("law.name=images", "law.side=4", "measure.samples=6", NETWORK)
    home = made(*few, "law.path=~/p.npy", "law.labels=~/l.npy")
    assert home.id == made(*few, f"law.path={pictures}", f"law.labels={labels}").id
    assert (home.law.parameters["path"], home.law.parameters["labels"]) == ("~/p.npy", "~/l.npy")
    rows = ("law.name=empirical", "law.dim=16")
    assert made(*rows, "law.path=~/points.npy").id == made(*rows, f"law.path={points}").id
    with pytest.raises(InputError, match=r"law.path: .*/nothing: cannot be read"):
        made(*few, "law.path=~/nothing")
    with pytest.raises(InputError, match=r"law.path: ~nobody-is-called-so/p.npy: cannot be read"):
        made(*few, "law.path=~nobody-is-called-so/p.npy")


@pytest.mark.parametrize(("size", "side", "around"), [((28, 24), 16, ((2, 2), (4, 4))), ((7, 13), 8, ((4, 5), (1, 2)))])
def test_pictures_are_padded_and_averaged(
    size: tuple[int, int], side: int, around: Sequence[tuple[int, int]], tmp_path: Path
) -> None:
    stored = np.random.default_rng(1).random((8, 3, *size))
    law = Images(path=written(tmp_path / "p.npy", stored), side=side, channels=3)
    padded = np.pad(stored, ((0, 0), (0, 0), *around), constant_values=stored.min())
    expected = padded.reshape(8, 3, side, 2, side, 2).mean((3, 5)).reshape(8, -1)
    found = np.concatenate(rows_of(law))
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-6)
    assert law.sigma_data == pytest.approx(math.sqrt(expected.var(0).mean()), rel=1e-5)


def test_grey_levels_of_sixteen_bits_are_as_fine_and_their_order_of_bytes_is_no_matter(tmp_path: Path) -> None:
    many = np.random.default_rng(1).integers(0, 2**16, (9, 4, 4), dtype=np.uint16)
    law, other = (Images(path=written(tmp_path / f"{k[0]}.npy", many.astype(k)), side=4) for k in ("<u2", ">u2"))
    np.testing.assert_allclose(law.rows, many.reshape(9, -1) / 32767.5 - 1, atol=1e-6)
    assert torch.equal(law.rows, other.rows)
    assert law.digest == other.digest
    assert torch.equal(Images(path=tmp_path / "<.npy", side=4, scale=0.5).rows, law.rows / 2)


def test_colours_come_first_or_last_and_as_they_are_in_a_folder(tmp_path: Path) -> None:
    """Three columns, too, which are no colours where those come first."""
    colours = np.random.default_rng(1).integers(0, 256, (6, 3, 4, 3), dtype=np.uint8)  # (n, c, h, w)
    colours[0, 0, 0, 0] = 0
    (folder := tmp_path / "folder").mkdir()
    for i, picture in enumerate(colours.transpose(0, 2, 3, 1)):
        Image.fromarray(picture).save(folder / f"{i}.png")
    padded = np.pad(colours, ((0, 0), (0, 0), (0, 0), (0, 1)))
    paths = [written(tmp_path / "first.npy", colours), written(tmp_path / "last.npy", padded.transpose(0, 2, 3, 1))]
    for path in (*paths, str(folder)):
        rows = Images(path=path, side=4, channels=3).rows
        np.testing.assert_allclose(rows, padded.reshape(6, -1) / 127.5 - 1, atol=1e-6)


def test_what_is_memorised_and_how_often_a_class_comes_is_of_the_part_to_train_on(tmp_path: Path) -> None:
    path, labels = written(tmp_path / "p.npy", PICTURES), written(tmp_path / "l.npy", LABELS)
    whole, few = (Images(path=path, labels=labels, side=4, empirical=n) for n in (0, 4))
    part, own = whole.training_set(9, generator())
    assert own is not None
    assert few.atoms is not None
    assert torch.cdist(few.atoms.points, part).amin(1).max() < 1e-3
    shares = np.bincount(own.numpy(), minlength=3) / 9
    np.testing.assert_allclose(whole.class_shares(), shares)
    held = whole.sample_labelled(6, generator(), part="measure")[1]
    assert not np.allclose(shares, np.bincount(held.numpy(), minlength=3) / 6)


def test_a_changed_file_is_noticed_though_its_size_stays(tmp_path: Path) -> None:
    path = written(tmp_path / "p.npy", PICTURES)
    words = ["law.name=images", f'law.path="{path}"', "law.side=4", "measure.samples=6", NETWORK]
    before = load(None, None, words).experiments()[0]
    make_law(before.law.model_dump())
    written(tmp_path / "p.npy", PICTURES[::-1].copy())
    assert load(None, None, words).experiments()[0].id != before.id
    with pytest.raises(InputError, match=r"have digest \w+, expected law.digest .* have changed"):
        make_law(before.law.model_dump())


# --- what is refused

GIVEN = {"idx": idx(PICTURES), "labels": idx(LABELS)}
REFUSED: dict[str, tuple[bytes | np.ndarray, bytes | np.ndarray | None, str]] = {
    "magic": (b"\x00\x07" + GIVEN["idx"][2:], None, "is of no known kind .it begins with 00 07 08 03"),
    "axes": (idx(PICTURES)[:3] + b"\x09" + idx(PICTURES)[4:], None, "no IDX file: its magic number is 00 00 08 09"),
    "gz magic": (gzip.compress(b"\x01" * 99), None, "no IDX file: its magic number is 01 01 01 01, expected 00 00 08"),
    "type": (idx(PICTURES, kind=0x0D), None, "of type 0x0d, expected unsigned bytes, 0x08: save other numbers as .npy"),
    "cut": (GIVEN["idx"][:-5], None, "is cut short: it holds 331 of 336 entries; copy it again"),
    "cut header": (GIVEN["idx"][:9], None, "is cut short within its header"),
    "cut gz": (gzip.compress(GIVEN["idx"])[:-60], None, "is cut short or damaged within its gzip"),
    "more": (GIVEN["idx"] + b"\0", None, "holds more than the 336 entries"),
    "huge": (idx(PICTURES, sizes=[2**32 - 1] * 4), None, "cut short|memory cannot hold"),
    "nothing": (idx(PICTURES[:0]), None, "holds nothing"),
    "empty": (b"", None, "is empty: give an IDX file"),
    "text": (b"hello there", None, "is of no known kind"),
    "labels for pictures": (
        GIVEN["labels"],
        None,
        "1 axes, expected pictures .n, h, w.: it holds labels; .*law.labels",
    ),
    "pictures for labels": (GIVEN["idx"], GIVEN["idx"], "holds labels of uint8, shape .21, 4, 4., expected whole numb"),
    "too few labels": (GIVEN["idx"], idx(LABELS[:20]), "holds 20 labels for 21 pictures"),
    "one class": (GIVEN["idx"], idx(0 * LABELS), "holds labels from 0 to 0, expected 0 to K - 1"),
    "gap": (GIVEN["idx"], idx(2 * LABELS), "names 5 classes, but no picture is of class 1"),
    "real labels": (GIVEN["idx"], LABELS / 2, "holds labels of float64"),
    "no labels": (GIVEN["idx"], b"", "law.labels: .* is empty: give an IDX or .npy file of whole numbers"),
    "npy labels cut": (GIVEN["idx"], b"\x93NUMPY\x01\x00", "law.labels: .*: damaged or cut short"),
    "colour": (
        np.zeros((5, 3, 4, 4), np.uint8),
        None,
        "law.channels is 1, but .* holds pictures of 3: set law.channels",
    ),
    "black and white": (PICTURES > 9, None, r"holds bool entries, .*\(255 \* array\)\.astype\('uint8'\)"),
    "integers": (PICTURES.astype(int), None, r"holds int64 entries, expected uint8, .*astype\('uint8'\)"),
    "shape": (np.zeros((5, 16)), None, r"has shape \(5, 16\), expected pictures: \(n, h, w\)"),
    "two": (PICTURES[:2], None, "holds 2 pictures, expected at least 3"),
    "alike": (np.ones((5, 4, 4)), None, "holds the same picture 5 times"),
    "nan": (
        np.where(np.arange(80).reshape(5, 4, 4) == 40, np.nan, 1),
        None,
        "holds NaN or infinity, first in picture 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_file_gets_a_sentence(case: str, tmp_path: Path) -> None:
    data, labels, sentence = REFUSED[case]
    own = None if labels is None else written(tmp_path / "l.npy", labels)
    with pytest.raises(InputError, match=sentence) as error:
        Images(path=written(tmp_path / "p.npy", data), labels=own, side=4)
    assert "law." in str(error.value) or str(tmp_path) in str(error.value)


def test_a_wrong_folder_or_archive_gets_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()

    def refused(sentence: str, path: Path = folder) -> None:
        with pytest.raises(InputError, match=f"law.path: .*{sentence}"):
            Images(path=path, side=4)

    refused("is empty: expected pictures")
    refused("none: cannot be read .no such file or folder: check the path.: give an IDX file", tmp_path / "none")
    for i in range(3):
        Image.fromarray(PICTURES[i]).save(folder / f"{i}.png")
    Images(path=folder, side=4)
    for odd, sentence in [
        (
            Image.fromarray(PICTURES[0][:3]),
            "3.png is 4 x 3, L, but 0.png is 4 x 4, L: all pictures must be of one size",
        ),
        (Image.fromarray(np.zeros((4, 4, 3), np.uint8)), "3.png is 4 x 4, RGB, but 0.png is 4 x 4, L"),
        (Image.fromarray(np.zeros((4, 4, 4), np.uint8)), "3.png is of mode RGBA, expected one grey .L. or RGB"),
    ]:
        odd.save(folder / "3.png")
        refused(sentence)
    (folder / "3.png").write_bytes(b"no picture")
    refused("3.png: not a readable picture")
    (folder / "3.png").rename(folder / "notes.txt")
    refused("notes.txt is not a picture of a kind that is read")
    (folder / "notes.txt").unlink()
    Images(path=folder, side=4)
    (folder / "more").mkdir()
    refused("more is a folder, expected pictures and nothing else: put all pictures into one folder")
    (folder / "more").rmdir()
    (folder / "7.png").symlink_to("7.png")
    refused("7.png: cannot be read .symbolic links lead round in a circle: [^)]*.$")  # the file, and no word on kinds
    (folder / "7.png").unlink()
    np.savez(tmp_path / "p.npz", a=PICTURES, b=PICTURES)
    refused("holds a, b, expected an array named images", tmp_path / "p.npz")
    for name, like in (("y", LABELS), ("Targets", np.eye(3)[LABELS]), ("digit", LABELS.astype(np.int32))):
        np.savez(tmp_path / "like.npz", images=PICTURES, seconds=np.ones(21), **{name: like})
        refused(f"holds images and {name}, which looks like labels, .*: rename it", tmp_path / "like.npz")
        own = written(tmp_path / "l.npy", LABELS)
        assert Images(path=tmp_path / "like.npz", labels=own, side=4).classes == 3  # said where they are
    np.savez(
        tmp_path / "others.npz", images=PICTURES, seconds=np.ones(21), sizes=np.ones(2, int), y=LABELS, labels=LABELS
    )
    assert Images(path=tmp_path / "others.npz", side=4).classes == 3
    (tmp_path / "q.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:-40])
    refused("damaged or cut short", tmp_path / "q.npz")
    (tmp_path / "r.npz").write_bytes(2 * (tmp_path / "p.npz").read_bytes())
    refused("something in front of its arrays, as when two npz files are joined", tmp_path / "r.npz")


def test_more_samples_than_the_part_holds_are_refused_before_the_run(tmp_path: Path) -> None:
    words = ["law.name=images", f'law.path="{written(tmp_path / "p.npy", PICTURES)}"', "law.side=4", NETWORK]
    with pytest.raises(InputError, match=r"measure.samples is 1000, but .*'images' has 6 samples to measure with"):
        load(None, None, words).experiments()
    with pytest.raises(InputError, match=r"measure.samples is 7, but"):
        load(None, None, [*words, "measure.samples=7"]).experiments()
    assert load(None, None, [*words, "measure.samples=6"]).experiments()
    with pytest.raises(InputError, match=r"law.empirical is 10, but .* has 9 pictures to train on"):
        load(None, None, [*words, "law.empirical=10"]).experiments()


def test_digits_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from dmdlab.laws import images

    images.scikit_digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"needs scikit-learn, which is not installed: pip install 'dmdlab\[digits\]'"):
        make_law({"name": "digits"})


def test_digits_are_real_handwriting_without_a_file() -> None:
    pytest.importorskip("sklearn", reason="the extra 'digits' is not installed")
    law = make_law({"name": "digits"})
    assert (law.shape, law.classes) == ((1, 8, 8), 10)
    assert [law.available(part) for part in PARTS] == [771, 513, 513]
    x, labels = law.sample_labelled(500, generator(), part="measure")
    assert x.min() == -1
    assert x.max() == 1
    assert len(labels.unique()) == 10
