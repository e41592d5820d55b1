"""The digits of scikit-learn, and the reader of IDX files, on files that these tests write."""

import gzip
import struct

import numpy as np
import pytest

from jaxcalc.network import data

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx(array) -> bytes:
    head = bytes([0, 0, CODES[array.dtype.name], array.ndim])
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder, train=12, test=5, packed=False):
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        for kind, array in (
            ("images-idx3-ubyte", random.integers(0, 256, (count, 4, 3), np.uint8)),
            ("labels-idx1-ubyte", random.integers(0, 10, count, np.uint8)),
        ):
            content = gzip.compress(idx(array)) if packed else idx(array)
            (folder / f"{part}-{kind}{'.gz' if packed else ''}").write_bytes(content)


@pytest.mark.parametrize("dtype", CODES)
def test_an_array_is_read_as_it_was_written(tmp_path, dtype):
    array = (100 * np.random.default_rng(0).normal(size=(3, 2, 5))).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(idx(array))
    read = data.read_idx(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_what_is_no_whole_file_is_refused(tmp_path):
    path = tmp_path / "array"
    whole = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
    for content, message in (
        (b"", "is no IDX file: it begins with the bytes \\(none\\)"),
        (b"\x89PNG and so on", "is no IDX file: it begins with the bytes 89 50 4e 47"),
        (whole[:2] + b"\x07" + whole[3:], "is no IDX file"),
        (whole[:7], "is truncated: 7 bytes, its 2 dimensions alone need 12"),
        (whole[:-1], "is truncated: 17 bytes, but an array \\(2, 3\\) of uint8 makes 18"),
        (whole + b"!", "is too long: 19 bytes"),
        (gzip.compress(whole)[:-9], "is not a whole gzip file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            data.read_idx(path)


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_split_and_scaled(tmp_path, packed):
    write_mnist(tmp_path, packed=packed)
    split = data.mnist(tmp_path, validation=4)
    assert [len(images) for images, _ in split] == [8, 4, 5]
    for images, labels in split:
        assert images.shape == (len(labels), 12)
        assert images.dtype == np.float32
        assert labels.dtype == np.int32
    suffix = ".gz" if packed else ""
    raw = data.read_idx(tmp_path / f"train-images-idx3-ubyte{suffix}")
    np.testing.assert_allclose(split.validation[0], raw[8:].reshape(4, 12) / 255, rtol=1e-6)


def test_what_is_missing_or_does_not_fit_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte nor train-images-idx3-ubyte.gz"):
        data.mnist(tmp_path)
    write_mnist(tmp_path)
    with pytest.raises(ValueError, match="validation must be from 1 to 11"):
        data.mnist(tmp_path, validation=12)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(7, np.uint8)))
    with pytest.raises(ValueError, match=r"train images have shape \(12, 4, 3\) and the labels \(7,\)"):
        data.mnist(tmp_path, validation=4)


def test_the_digits_are_those_of_scikit_learn_each_once():
    datasets = pytest.importorskip("sklearn.datasets")
    split = data.digits(seed=3)
    assert [images.shape for images, _ in split] == [(1197, 64), (300, 64), (300, 64)]
    everything = np.concatenate([images for images, _ in split])
    expected = datasets.load_digits().data / 16
    np.testing.assert_allclose(np.sort(everything @ np.arange(64)), np.sort(expected @ np.arange(64)), rtol=1e-5)
    assert everything.max() == 1
    assert (data.digits(seed=4).test[1] != split.test[1]).any()
