"""Images of handwritten digits: those that scikit-learn ships, and MNIST in its own files."""

import gzip
import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcalc.core.arguments import whole_number


class Split(NamedTuple):
    """Training, validation and test samples, each a pair of images (m, pixels), from 0 to 1, and labels (m,)."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


# The dtype that the third byte of an IDX file's magic number stands for.
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def digits(seed: int = 0) -> Split:
    """Loads the 1,797 images of 8 x 8 pixels that scikit-learn ships, two thirds of them for training.

    Args:
        seed: The seed of NumPy's generator, which shuffles the images before the split.

    Returns:
        1,197 images for training, 300 for validation and 300 for the test.

    Raises:
        ImportError: If scikit-learn is not installed.

    Source: E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits (1998).
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('The digits are scikit-learn\'s: pip install "jaxcalc[demo]"') from error
    data: Any = load_digits()
    order = np.random.default_rng(whole_number("seed", seed)).permutation(len(data.target))
    images, labels = (data.data[order] / 16).astype(np.float32), data.target[order].astype(np.int32)
    parts = [slice(0, -600), slice(-600, -300), slice(-300, None)]
    return Split(*((images[part], labels[part]) for part in parts))


def mnist(folder: str | Path, validation: int = 10_000) -> Split:
    """Loads MNIST, or other images in files of the same names and format, from its four IDX files.

    Args:
        folder: The folder that holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte, each uncompressed or, with the suffix .gz, compressed.
        validation: The number of validation images, taken from the end of the training images; at least 1.

    Returns:
        The training images without the last `validation`, these as the validation images, and the t10k images as the
        test.

    Raises:
        FileNotFoundError: If a file is missing; the message names it.
        TypeError: If validation is not a whole number.
        ValueError: If a file is not in this format, images and labels differ in number, or validation is out of range.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition
    (1998).
    """
    (images, labels), test = (_images_and_labels(Path(folder), part) for part in ("train", "t10k"))
    if not 0 < whole_number("validation", validation) < len(labels):
        raise ValueError(
            f"validation must be from 1 to {len(labels) - 1}, below the training images; it is {validation}."
        )
    kept = len(labels) - validation
    return Split((images[:kept], labels[:kept]), (images[kept:], labels[kept:]), test)


def read_idx(path: str | Path) -> np.ndarray:
    """Reads an array from a file in the IDX format, compressed with gzip or not.

    The file begins with two zero bytes, a byte for the dtype, a byte for the number of dimensions, and each dimension
    as four bytes, the most significant first. The numbers of the array follow.

    Args:
        path: The file.

    Returns:
        The array in the file's shape and dtype, with the byte order of this machine.

    Raises:
        ValueError: If the magic number is wrong, or the file is shorter or longer than its dimensions require.

    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits (1998).
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError) as error:
            raise ValueError(f"{path} is not a whole gzip file: {error}") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in DTYPES:
        raise ValueError(
            f"{path} is no IDX file: it begins with the bytes {raw[:4].hex(' ') or '(none)'}, expected 00 00, a type "
            f"from {', '.join(f'{code:02x}' for code in DTYPES)} and the number of dimensions."
        )
    dtype, start = np.dtype(DTYPES[raw[2]]), 4 + 4 * raw[3]
    if len(raw) < start:
        raise ValueError(f"{path} is truncated: {len(raw)} bytes, its {raw[3]} dimensions alone need {start}.")
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        what = "truncated" if len(raw) < expected else "too long"
        raise ValueError(f"{path} is {what}: {len(raw)} bytes, but an array {shape} of {dtype.name} makes {expected}.")
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _images_and_labels(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of "train" or "t10k" as rows of numbers from 0 to 1, (m, pixels), and their labels (m,)."""
    images, labels = (
        read_idx(_existing(folder / f"{part}-{kind}")) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise ValueError(
            f"{folder}: the {part} images have shape {images.shape} and the labels {labels.shape}; expected (m, rows, "
            "columns) and (m,)."
        )
    return (images.reshape(len(images), -1) / 255).astype(np.float32), labels.astype(np.int32)


def _existing(path: Path) -> Path:
    """Returns the path of the file, or of its compressed form with the suffix .gz, whichever exists."""
    packed = path.with_name(path.name + ".gz")
    if not path.exists() and not packed.exists():
        raise FileNotFoundError(f"neither {path} nor {packed.name} is there.")
    return path if path.exists() else packed
