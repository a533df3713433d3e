"""Pairs from files: what is read is what was saved, and whatever is wrong with a file is one sentence."""

import pickle
import resource
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dmdlab.config import InputError
from dmdlab.folders import read_images
from dmdlab.pairing.files import read_npy, read_pairs, read_several


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(12, 2, 3)).astype(np.float32) for name in ("teacher", "student", "reference")}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_gives_the_arrays_that_were_saved(tmp_path, arrays, save):
    save(tmp_path / "pairs.npz", **arrays)
    for source in (tmp_path / "pairs.npz", tmp_path):  # a folder that holds pairs.npz, as a run's, is as good
        pairs = read_pairs([source])
        for name, array in arrays.items():
            np.testing.assert_array_equal(getattr(pairs, name), array.reshape(12, 6))
        assert (pairs.noise, pairs.notes) == (None, ())


def test_two_npy_files_and_more_by_name(tmp_path, arrays):
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", np.asfortranarray(array) if name == "student" else array)
    pairs = read_pairs([tmp_path / "teacher.npy", tmp_path / "student.npy"], {"reference": tmp_path / "reference.npy"})
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(pairs, name), array.reshape(12, 6))


def test_an_npy_file_is_mapped_not_copied(tmp_path, arrays):
    np.save(tmp_path / "a.npy", arrays["teacher"])
    base = read_pairs([tmp_path / "a.npy", tmp_path / "a.npy"]).teacher
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple),
    dtype=st.sampled_from(["<f4", ">f8", "<f2", "|b1", "<i4", "|u1", "<c8", "<U3"]),
    fortran=st.booleans(),
    compressed=st.booleans(),
)
def test_reading_agrees_with_numpy(tmp_path, shape, dtype, fortran, compressed):
    array = np.zeros(shape, dtype)
    array.flat = np.arange(array.size)
    array = np.asfortranarray(array) if fortran else array
    np.save(tmp_path / "a.npy", array)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", teacher=array, student=array)
    for read in (read_npy(tmp_path / "a.npy"), *read_several(tmp_path / "a.npz").values()):
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype


def test_only_the_wanted_arrays_are_read_and_strange_names_are_noted(tmp_path, arrays):
    np.savez(tmp_path / "p.npz", refrence=arrays["reference"], labels=np.arange(12), **arrays)
    notes = []
    assert set(read_several(tmp_path / "p.npz", ("teacher", "student"), notes)) == {"teacher", "student"}
    assert notes == ["'labels' in p.npz is not used.", "'refrence' in p.npz is not used; is it 'reference'?"]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"teachers": 1, "student": 1}, "no array named 'teacher'.*rename 'teachers' to 'teacher'"),
        ({"teacher": 1, "studnet": 1}, "no array named 'student'.*rename 'studnet' to 'student'"),
        ({"x": 1, "y": 1}, "no array named 'teacher'; it holds 'x', 'y'.*np.savez"),
        ({}, "it holds nothing"),
    ],
)
def test_a_missing_array_is_named_with_the_nearest(tmp_path, held, message):
    np.savez(tmp_path / "p.npz", **{name: np.eye(3) for name in held})
    with pytest.raises(InputError, match=message):
        read_pairs([tmp_path / "p.npz"])


def test_pickles_are_refused_and_never_opened(tmp_path):
    class Armed:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    objects = np.array([Armed(), Armed()], dtype=object)
    np.savez(tmp_path / "p.npz", teacher=objects, student=np.eye(2))
    np.save(tmp_path / "p.npy", objects)
    np.save(tmp_path / "q.npy", np.eye(2))
    with zipfile.ZipFile(tmp_path / "torch.npz", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    for sources in (["p.npz"], ["p.npy", "q.npy"], ["torch.npz"]):
        with pytest.raises(InputError, match=r"pickle.*never opened"):
            read_pairs([tmp_path / s for s in sources])


@pytest.mark.parametrize("shape", [(13, 2, 3), (10**9,), (10**6, 10**6), (10**12,), (2**40, 2**40), (-3, 2)])
def test_a_header_that_claims_more_than_the_file_holds_is_refused_and_takes_no_memory(tmp_path, arrays, shape):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (tmp_path / "teacher.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "<f4"})
        file.write(arrays["teacher"].tobytes())
    np.save(tmp_path / "student.npy", arrays["student"])
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        for name in ("teacher.npy", "student.npy"):
            archive.write(tmp_path / name, name)
    for sources in (["teacher.npy", "student.npy"], ["p.npz"]):
        with pytest.raises(InputError, match="cut short"):
            read_pairs([tmp_path / s for s in sources])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999), compressed=st.booleans())
def test_a_file_cut_short_anywhere_is_one_sentence(tmp_path, arrays, share, compressed):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "whole.npz", **arrays)
    np.save(tmp_path / "whole.npy", arrays["teacher"])
    for name, sources in (("p.npz", ["p.npz"]), ("t.npy", ["t.npy", "whole.npy"])):
        whole = (tmp_path / f"whole{name[-4:]}").read_bytes()
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"cut short|empty file|neither an npz|not a readable npy"):
            read_pairs([tmp_path / s for s in sources])


def test_a_flipped_bit_inside_an_npz_is_found(tmp_path, arrays):
    np.savez(tmp_path / "p.npz", **arrays)
    raw = bytearray((tmp_path / "p.npz").read_bytes())
    raw[raw.find(arrays["student"].tobytes()[:16]) + 100] ^= 1
    (tmp_path / "p.npz").write_bytes(raw)
    with pytest.raises(InputError, match=r"damaged or cut short.*student"):
        read_pairs([tmp_path / "p.npz"])


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (np.zeros((11, 2, 3)), "student has 11 rows and teacher has 12"),
        (np.full((12, 2, 3), np.nan), r"12 of 12 rows \(0, 1, 2, 3, 4, \.\.\.\)"),
        (np.full((12, 2, 3), "a"), "text array"),
        (np.zeros((12, 2, 3), [("x", "f4")]), "non-numeric"),
    ],
)
def test_arrays_that_are_no_pairs_are_refused_with_the_file_named(tmp_path, arrays, student, message):
    np.savez(tmp_path / "p.npz", **(arrays | {"student": student}))
    with pytest.raises(InputError, match=rf"p\.npz: .*{message}"):
        read_pairs([tmp_path / "p.npz"])


def test_paths_that_are_nothing_of_the_kind(tmp_path, arrays):
    np.save(tmp_path / "teacher.npy", arrays["teacher"])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("teacher, student")
    (tmp_path / "folder").mkdir()
    np.savez(tmp_path / "p.npz", **arrays)
    for sources, message in [
        (["teacher.npy"], "one npy file holds one array"),
        (["empty.npz"], "an empty file"),
        (["text.npz"], "neither an npz nor an npy file"),
        (["pp.npz"], "no such file; did you mean 'p.npz'"),
        (["folder"], "without a pairs.npz"),
        (["folder", "teacher.npy"], "one is a folder and the other is not"),
        (["folder", "folder"], "no image in it"),
        (["p.npz", "p.npz"], "stands alone"),
        (["a", "b", "c"], "got 3 paths"),
    ]:
        with pytest.raises(InputError, match=message):
            read_pairs([tmp_path / s for s in sources])


def save_images(folder, pixels, names="abcdefgh", suffix=".png"):
    folder.mkdir(exist_ok=True)
    for name, image in zip(names, pixels, strict=False):
        Image.fromarray(image).save(folder / f"{name}{suffix}")


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, size=(5, 8, 6, 3), dtype=np.uint8)


def test_folders_of_images_are_matched_by_name(tmp_path, pixels):
    save_images(tmp_path / "t", pixels, "badce")
    save_images(tmp_path / "s", pixels[::-1], "ecdab", ".bmp")
    (tmp_path / "t" / "notes.json").write_text("{}")
    pairs = read_pairs([tmp_path / "t", tmp_path / "s"])
    np.testing.assert_array_equal(pairs.teacher, pixels[[1, 0, 3, 2, 4]].reshape(5, -1))
    np.testing.assert_array_equal(pairs.student, pairs.teacher)
    assert any("5 images, uint8" in note for note in pairs.notes)


@pytest.mark.parametrize(
    ("dtype", "top", "shape"),
    [(np.uint8, 255, (5, 8, 6)), (np.uint16, 65535, (5, 8, 6)), (np.uint8, 255, (5, 8, 6, 3))],
)
def test_pixels_come_back_as_they_were_saved(tmp_path, dtype, top, shape):
    pixels = np.random.default_rng(2).integers(0, top + 1, size=shape, dtype=dtype)
    save_images(tmp_path / "t", pixels)
    np.testing.assert_array_equal(read_images(tmp_path / "t", None, []), pixels)


def test_grey_palette_and_opaque_alpha_are_read_as_colour_where_any_is(tmp_path, pixels):
    opaque = np.concatenate([pixels[2], np.full((8, 6, 1), 255, np.uint8)], axis=2)
    save_images(tmp_path / "t", [*pixels[:2], opaque, pixels[3, :, :, 0]])
    read = read_images(tmp_path / "t", None, [])
    np.testing.assert_array_equal(read[:3], pixels[:3])
    np.testing.assert_array_equal(read[3], np.repeat(pixels[3, :, :, :1], 3, axis=2))


def test_images_that_do_not_match_or_cannot_be_read(tmp_path, pixels):
    clear = np.concatenate([pixels[0], np.full((8, 6, 1), 128, np.uint8)], axis=2)
    for name, images in {
        "fewer": pixels[:4],
        "small": [*pixels[:4], pixels[4, :4]],
        "deep": [*pixels[:4], np.zeros((8, 6), np.uint16)],
        "glass": [clear, *pixels[1:]],
    }.items():
        save_images(tmp_path / name, images)
    for name in ("t", "cut", "text", "twice"):
        save_images(tmp_path / name, pixels)
    whole = (tmp_path / "cut" / "c.png").read_bytes()
    (tmp_path / "cut" / "c.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text" / "d.png").write_text("not an image")
    save_images(tmp_path / "twice", pixels[:1], suffix=".bmp")
    for name, message in [
        ("fewer", r"fewer lacks 1 of the images of .*\(e\)"),
        ("small", r"e\.png is 6 x 4 pixels and a\.png is 6 x 8"),
        ("deep", "different depth"),
        ("cut", r"c\.png: not a readable picture"),
        ("text", r"d\.png: not a readable picture"),
        ("twice", "share a name"),
        ("glass", "partly transparent"),
    ]:
        with pytest.raises(InputError, match=message):
            read_pairs([tmp_path / "t", tmp_path / name])
    with pytest.raises(InputError, match=r"t lacks 1 of the images|fewer lacks"):
        read_pairs([tmp_path / "fewer", tmp_path / "t"])


def test_an_image_that_the_system_refuses_is_not_called_damaged(tmp_path):
    (tmp_path / "0.png").symlink_to("0.png")
    with pytest.raises(InputError, match=r"0.png: cannot be read \(symbolic links lead round in a circle: [^)]*\)$"):
        read_images(tmp_path, None, [])
