"""Reading Fashion-MNIST: what is right is read right, and what is wrong is said, with the file's name."""

from __future__ import annotations

import gzip

import pytest
import torch
from synthetic import idx_bytes, make_images, write_data

from flashfftconv.data import DataError, load_fashion_mnist, read_idx, to_sequences
from flashfftconv.data.fashion_mnist import FILE_STEMS, PIXEL_DEVIATION, PIXEL_MEAN

IMAGES = FILE_STEMS["train_images"] + ".gz"
LABELS = FILE_STEMS["train_labels"] + ".gz"


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "data", train=20, test=10)


@pytest.mark.parametrize("compress", [True, False])
def test_values_come_back(tmp_path, compress):
    data = load_fashion_mnist(write_data(tmp_path, train=20, test=10, compress=compress))
    images, labels = make_images(20, seed=1)
    assert torch.equal(data.train_images, images.reshape(20, 784))
    assert torch.equal(data.train_labels, labels.long())
    assert data.test_images.shape == (10, 784)
    assert data.train_labels.dtype == torch.int64


def test_sequences_are_normalised_row_by_row():
    images = torch.arange(2 * 784).remainder(256).to(torch.uint8).reshape(2, 784)
    sequences = to_sequences(images)
    assert sequences.shape == (2, 784, 1)
    assert sequences.dtype == torch.float32
    expected = (images.double() / 255 - PIXEL_MEAN) / PIXEL_DEVIATION
    torch.testing.assert_close(sequences[..., 0].double(), expected, rtol=1e-6, atol=1e-6)
    assert images[0, 1] == 1, "the images are not changed"


def test_fingerprint_sees_every_part(folder):
    data = load_fashion_mnist(folder)
    before = data.fingerprint()
    assert before == load_fashion_mnist(folder).fingerprint()
    data.test_labels[3] = (data.test_labels[3] + 1) % 10
    assert data.fingerprint() != before


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist; expected a folder with train-images-idx3-ubyte\.gz"):
        load_fashion_mnist(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder(folder):
    with pytest.raises(DataError, match="is not a folder"):
        load_fashion_mnist(folder / IMAGES)


def test_missing_file(folder):
    (folder / LABELS).unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz is missing; found t10k-images"):
        load_fashion_mnist(folder)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_truncated_gzip(folder, keep):
    path = folder / IMAGES
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: (is not a whole gzip file|holds 0 bytes)"):
        load_fashion_mnist(folder)


def test_damaged_gzip(folder):
    path = folder / IMAGES
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="train-images"):
        load_fashion_mnist(folder)


def test_not_gzip_at_all(folder):
    (folder / IMAGES).write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="is not a whole gzip file"):
        load_fashion_mnist(folder)


@pytest.mark.parametrize("cut", [-1, -784, 1])
def test_data_shorter_or_longer_than_its_header_says(folder, cut):
    content = gzip.decompress((folder / IMAGES).read_bytes())
    changed = content[:cut] if cut < 0 else content + b"x"
    (folder / IMAGES).write_bytes(gzip.compress(changed))
    with pytest.raises(DataError, match=rf"holds {20 * 784 + cut} bytes of data, expected 15680 \(20 x 28 x 28"):
        load_fashion_mnist(folder)


def test_header_cut_short(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(b"\0\0\x08")
    with pytest.raises(DataError, match="holds 3 bytes, expected at least the 8 of an IDX header"):
        read_idx(path, 1)


def test_wrong_magic(folder):
    images, _ = make_images(20, seed=1)
    (folder / IMAGES).write_bytes(gzip.compress(idx_bytes(images, magic=b"\0\0\x0d\x03")))
    with pytest.raises(DataError, match="starts with 0x00000d03, expected 0x00000803"):
        load_fashion_mnist(folder)


def test_images_where_labels_belong(folder):
    (folder / LABELS).write_bytes((folder / IMAGES).read_bytes())
    with pytest.raises(DataError, match=r"train-labels.*starts with 0x00000803, expected 0x00000801"):
        load_fashion_mnist(folder)


def test_as_many_labels_as_images(folder):
    _, labels = make_images(19, seed=1)
    (folder / LABELS).write_bytes(gzip.compress(idx_bytes(labels)))
    with pytest.raises(DataError, match=r"train-labels.*holds 19 labels, expected 20, one for each image"):
        load_fashion_mnist(folder)


def test_labels_out_of_range(folder):
    (folder / LABELS).write_bytes(gzip.compress(idx_bytes(torch.full((20,), 10, dtype=torch.uint8))))
    with pytest.raises(DataError, match="holds the label 10, expected 0 to 9"):
        load_fashion_mnist(folder)


def test_images_of_another_size(folder):
    (folder / IMAGES).write_bytes(gzip.compress(idx_bytes(torch.zeros(20, 28, 27, dtype=torch.uint8))))
    with pytest.raises(DataError, match="images of 28 x 27 pixels, expected 28 x 28"):
        load_fashion_mnist(folder)


def test_no_items(folder):
    (folder / LABELS).write_bytes(gzip.compress(idx_bytes(torch.zeros(0, dtype=torch.uint8))))
    with pytest.raises(DataError, match="holds no items"):
        load_fashion_mnist(folder)
