"""What is accepted as a pair of arrays, what is converted with a note, what is refused with which words."""

import numpy as np
import pytest
import torch

from dmdlab.config import InputError
from dmdlab.pairing import Pairs, measure

P = np.random.default_rng(0).normal(size=(6, 4))
G = P + 0.1
IMAGES = np.random.default_rng(1).normal(size=(6, 3, 8, 8))
ROW_ONE = np.arange(6)[:, None] == 1


def test_any_trailing_shape_is_flattened():
    pairs = Pairs.of(P.reshape(6, 1, 2, 2), G.reshape(6, 2, 2), noise=np.ones((6, 9)), data=np.ones((3, 4)))
    assert pairs.teacher.shape == pairs.student.shape == (6, 4)
    assert pairs.noise.shape == (6, 9)
    assert (pairs.n, pairs.d) == (6, 4)
    np.testing.assert_array_equal(pairs.teacher, P)
    assert Pairs.of(P[:, 0], G[:, 0]).d == 1
    assert Pairs.of(IMAGES, IMAGES.reshape(6, -1)).d == 192


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "bool", ">f8", "longdouble"])
def test_other_number_types_are_converted(dtype):
    teacher = np.arange(12).reshape(6, 2).astype(dtype)
    pairs = Pairs.of(teacher, np.arange(12.0).reshape(6, 2))
    assert pairs.teacher.dtype in (np.float32, np.float64)
    assert pairs.teacher.dtype.isnative
    np.testing.assert_array_equal(pairs.teacher, teacher.astype(np.float64))
    if dtype != ">f8":  # the same numbers in another byte order are not worth a note
        assert any("teacher was" in note for note in pairs.notes)


def test_float32_is_measured_without_a_copy():
    teacher = P.astype(np.float32)
    pairs = Pairs.of(teacher, G)
    assert pairs.teacher is teacher or pairs.teacher.base is teacher
    assert pairs.notes == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_torch_tensors_are_accepted_without_importing_torch(dtype):
    teacher = torch.tensor(P, dtype=dtype, requires_grad=True)
    pairs = Pairs.of(teacher, torch.tensor(G))
    np.testing.assert_allclose(pairs.teacher, P, atol=2e-2)
    assert bool(pairs.notes) == (dtype in (torch.float16, torch.bfloat16))


def test_repeated_rows_and_constant_columns_are_measured_with_a_note():
    teacher = P.copy()
    teacher[3] = teacher[1]
    teacher[:, 2] = 5.0
    report = measure(teacher, G)
    assert any("1 of 6 rows repeat" in note for note in report.notes)
    assert any("1 of 4 coordinates are constant" in note for note in report.notes)
    assert np.isfinite(report.values()["delta_e"])


def test_rows_that_differ_in_the_sign_of_a_zero_repeat():
    P = np.random.default_rng(0).normal(size=(20, 2))
    assert any("student: 19 of 20 rows repeat another row" in note for note in Pairs.of(P, 0 * P).notes)


@pytest.mark.parametrize(
    ("same", "told"), [(0, None), (1, "1 of 6 rows of the student are the teacher's, number"), (6, "twice?")]
)
def test_rows_that_teacher_and_student_share_are_told(same, told):
    P, G = np.random.default_rng(0).standard_normal((2, 6, 4))
    G[:same] = P[:same]
    notes = [note for note in Pairs.of(P, G).notes if "number for number" in note]
    assert len(notes) == (told is not None)
    assert all(str(told) in note and ("twice" in note) == (same == 6) for note in notes)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"student": G[:5]}, "5 rows and teacher has 6"),
        ({"student": G[:, :3]}, "must agree"),
        ({"teacher": P[:1], "student": G[:1]}, "n >= 2"),
        ({"teacher": 3.0}, "a single number"),
        ({"teacher": P[:, :0], "student": G[:, :0]}, "no coordinates"),
        ({"student": np.where(ROW_ONE | ROW_ONE[::-1], np.nan, G)}, r"2 of 6 rows \(1, 4\)"),
        ({"teacher": np.where(ROW_ONE, -np.inf, P)}, r"1 of 6 rows \(1\)"),
        ({"teacher": np.full((100, 2), np.nan), "student": np.ones((100, 2))}, r"100 rows \(0, 1, 2, 3, 4, \.\.\.\)"),
        ({"student": G.astype(str)}, "text array"),
        ({"student": G.astype(complex)}, "complex array"),
        ({"student": G.astype(object)}, "object array"),
        ({"student": [[1.0, 2.0], [3.0]]}, "unequal lengths"),
        ({"student": np.ma.masked_greater(G, 0.5)}, "masked"),
        ({"student": np.where(ROW_ONE, 1e100, G)}, "row 1"),
        ({"student": 1e-100 * G}, "square vanishes"),
        ({"reference": P[:, :2]}, "reference has rows of shape"),
        ({"reference": P[:1]}, "reference has 1 row"),
        ({"noise": np.ones((5, 2))}, "noise has 5 rows"),
        ({"one_step": P[:, :2]}, "one_step has rows"),
        ({"data": np.full((3, 4), np.nan)}, "data has NaN"),
        ({"teacher": None}, "teacher is missing"),
        ({"teacher": IMAGES, "student": IMAGES.transpose(0, 2, 3, 1)}, "transpose"),
    ],
)
def test_bad_arrays_are_refused_with_a_sentence(arrays, message):
    with pytest.raises(InputError, match=message):
        Pairs.of(**({"teacher": P, "student": G} | arrays))


PICTURES = np.random.default_rng(2).uniform(-1, 1, size=(40, 12))


@pytest.mark.parametrize(
    ("name", "convert", "told"),
    [
        ("student", lambda x: np.rint(127.5 * (x + 1)).astype(np.uint8), "127.5 times as wide"),
        ("student", lambda x: (x + 1) / 2, "2 times narrower"),
        ("student", lambda x: 1000 * x, "1,000 times as wide"),
        ("student", lambda x: 1e-3 * x, "1,000 times narrower"),
        ("reference", lambda x: 32767.5 * (x + 1), "32,770 times as wide"),
    ],
)
def test_ranges_that_look_like_other_units_are_named_with_their_factor_and_never_converted(name, convert, told):
    arrays = {"student": PICTURES[::-1], name: convert(PICTURES[::-1])}
    pairs = Pairs.of(PICTURES, **arrays)
    (note,) = [note for note in pairs.notes if "different units" in note]
    assert note.startswith(f"{name} runs from")
    assert told in note
    assert "teacher from" in note
    np.testing.assert_array_equal(getattr(pairs, name), arrays[name])


@pytest.mark.parametrize("student", [0.3 * PICTURES, 5 * PICTURES, np.zeros_like(PICTURES), PICTURES + 100])
def test_a_student_that_shrank_grew_or_moved_is_in_the_same_unit(student):
    assert not any("different units" in note for note in Pairs.of(PICTURES, student).notes)
