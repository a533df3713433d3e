"""Files of other tools: nothing in them is dropped in silence, and what cannot be read says how to convert it."""

import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dmdlab.config import InputError
from dmdlab.folders import read_alike, read_images
from dmdlab.pairing.files import read_pairs


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(12, 2, 3)).astype(np.float32) for name in ("teacher", "student", "reference")}


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, size=(5, 8, 6, 3), dtype=np.uint8)


# --- more in a file than is read, and less depth than is there


def test_what_stands_behind_or_in_front_of_an_array_is_never_dropped(tmp_path, arrays):
    teacher, student = arrays["teacher"], arrays["student"]
    np.save(tmp_path / "s.npy", student)
    for version in ((1, 0), (2, 0)):
        with (tmp_path / "t.npy").open("wb") as file:
            np.lib.format.write_array(file, teacher, version)
        assert len(read_pairs([tmp_path / "t.npy", tmp_path / "s.npy"]).teacher) == 12
        with (tmp_path / "t.npy").open("ab") as file:
            np.save(file, teacher)
        with pytest.raises(InputError, match=r"t\.npy: it holds \d+ bytes behind its array.*np\.savez"):
            read_pairs([tmp_path / "t.npy", tmp_path / "s.npy"])
    with zipfile.ZipFile(tmp_path / "behind.npz", "w") as archive:
        archive.writestr("teacher.npy", (tmp_path / "t.npy").read_bytes())
        archive.write(tmp_path / "s.npy", "student.npy")
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        for name in ("teacher", "student"):
            archive.write(tmp_path / "s.npy", f"{name}.npy")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.write(tmp_path / "s.npy", "teacher.npy")
    np.savez(tmp_path / "p.npz", **arrays)
    (tmp_path / "joined.npz").write_bytes(2 * (tmp_path / "p.npz").read_bytes())
    for name, told in (("behind", "teacher: it holds .* behind"), ("twice", "twice"), ("joined", "in front")):
        with pytest.raises(InputError, match=told):
            read_pairs([tmp_path / f"{name}.npz"])


def deep_png(path, colour_type, channels):
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    rows = b"".join(b"\0" + bytes(range(8 * channels)) for _ in range(4))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, colour_type, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_a_deep_colour_image_is_refused_rather_than_halved(tmp_path, colour_type, channels):
    deep_png(tmp_path / "a.png", colour_type, channels)
    with pytest.raises(InputError, match=r"a\.png: 16 bits a channel.*npy"):
        read_images(tmp_path, None, [])
    with pytest.raises(InputError, match=r"a\.png: 16 bits a channel.*npy" if colour_type == 2 else "is of mode"):
        read_alike(tmp_path)


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_a_file_of_several_pictures_is_refused(tmp_path, pixels, suffix):
    first, *others = [Image.fromarray(image) for image in pixels]
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=others)
    for read in (read_alike, lambda folder: read_images(folder, None, [])):
        with pytest.raises(InputError, match="it holds 5 pictures and one would be read"):
            read(tmp_path)


def test_an_orientation_is_followed_and_told(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels[0]).save(tmp_path / "a.png", exif=exif)
    notes = []
    np.testing.assert_array_equal(read_images(tmp_path, None, notes)[0], np.rot90(pixels[0], -1))
    np.testing.assert_array_equal(read_alike(tmp_path)[0], np.rot90(pixels[0], -1))
    assert any("1 of 1 images were turned" in note for note in notes)


def test_a_colour_that_is_transparent_is_refused(tmp_path, pixels):
    """An RGB picture may name one, and has no band for it."""
    Image.fromarray(pixels[0]).save(tmp_path / "a.png", transparency=tuple(int(c) for c in pixels[0, 0, 0]))
    for read in (read_alike, lambda folder: read_images(folder, None, [])):
        with pytest.raises(InputError, match=r"a\.png: partly transparent"):
            read(tmp_path)


def test_pictures_of_a_kind_that_is_not_read_are_not_passed_over(tmp_path, pixels):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    Image.fromarray(pixels[0]).save(tmp_path / "f.gif")
    with pytest.raises(InputError, match=r"f\.gif is of a kind that is not read"):
        read_images(tmp_path, None, [])


# --- what other tools write


def test_images_in_sub_folders_are_read_in_order(tmp_path, pixels):
    for root in ("t", "s"):
        for i, image in enumerate(pixels):
            folder = tmp_path / root / f"{3 - i // 2:06d}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i:06d}.png")
    pairs = read_pairs([tmp_path / "t", tmp_path / "s"])
    np.testing.assert_array_equal(pairs.teacher, pixels[[4, 2, 3, 0, 1]].reshape(5, -1))
    Image.fromarray(pixels[0]).save(tmp_path / "t" / "grid.png")
    with pytest.raises(InputError, match="images in it and in its sub-folder 000001, too"):
        read_pairs([tmp_path / "t", tmp_path / "s"])


def test_safetensors_are_read_as_one_file_or_as_two(tmp_path, arrays):
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    save_file(tensors, tmp_path / "pairs.safetensors")
    save_file({"x": tensors["teacher"].bfloat16()}, tmp_path / "t.safetensors")
    pairs = read_pairs([tmp_path / "pairs.safetensors"])
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(pairs, name), array.reshape(12, 6))
    two = read_pairs([tmp_path / "t.safetensors", tmp_path / "pairs.safetensors"])
    np.testing.assert_array_equal(two.teacher, tensors["teacher"].bfloat16().float().reshape(12, 6))
    np.testing.assert_array_equal(two.student, pairs.student)
    assert any("was bfloat16" in note for note in two.notes)
    with pytest.raises(InputError, match="expected one tensor, or one that is named 'noise'"):
        read_pairs([tmp_path / "pairs.safetensors"], {"noise": tmp_path / "pairs.safetensors"})
    save_file({"x": tensors["teacher"].to(torch.float8_e4m3fn)}, tmp_path / "t.safetensors")
    with pytest.raises(InputError, match=r"x is F8_E4M3, which is not read.*tensor\.float\(\)"):
        read_pairs([tmp_path / "t.safetensors", tmp_path / "t.safetensors"])
    whole = (tmp_path / "pairs.safetensors").read_bytes()
    (tmp_path / "pairs.safetensors").write_bytes(whole[:-5])
    with pytest.raises(InputError, match="cut short"):
        read_pairs([tmp_path / "pairs.safetensors"])


def test_reading_safetensors_needs_no_torch(tmp_path, arrays):
    save_file({name: torch.from_numpy(array).bfloat16() for name, array in arrays.items()}, tmp_path / "p.safetensors")
    words = (
        "import sys; from pathlib import Path; from dmdlab.pairing.files import read_pairs; "
        "read_pairs([Path(sys.argv[1])]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", words, tmp_path / "p.safetensors"], check=False).returncode == 0


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saved_is_never_opened_and_how_to_convert_it_is_said(tmp_path, zipped):
    for name in ("t.pt", "s.pt"):
        torch.save(torch.eye(3), tmp_path / name, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"written by torch\.save.*never opened.*weights_only=True.*np\.savez"):
        read_pairs([tmp_path / "t.pt", tmp_path / "s.pt"])


@pytest.mark.parametrize(("size", "likely"), [(1, "float8"), (2, "bfloat16")])
def test_a_type_that_numpy_does_not_know_is_named_with_a_way_out(tmp_path, size, likely):
    raw = np.zeros((4, 3), np.dtype((np.void, size)))
    np.save(tmp_path / "t.npy", raw)
    np.savez(tmp_path / "p.npz", teacher=raw, student=raw)
    for sources in (["t.npy", "t.npy"], ["p.npz"]):
        with pytest.raises(InputError, match=rf"raw bytes.*{likely}.*astype\(np\.float32\)"):
            read_pairs([tmp_path / s for s in sources])


def test_a_path_that_is_too_long_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="longer than the system allows: choose a shorter one"):
        read_pairs([tmp_path / f"{'a' * 300}.npz"])
