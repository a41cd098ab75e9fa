"""Mirrored and shifted images, the same for a record wherever it is."""

import pytest
import torch

from nodewise.training.augment import augment

SIDE = 32


def numbered_images(count: int = 1, side: int = SIDE) -> torch.Tensor:
    """Images of which each pixel says where it is: channel 0 its row, 1 its column, 2 its image."""
    row = torch.arange(side).view(1, 1, side, 1).expand(count, 1, side, side)
    image = torch.arange(count).view(count, 1, 1, 1).expand(count, 1, side, side)
    return torch.cat([row, row.transpose(2, 3), image], dim=1).float()


def changed(count: int, *, epoch: int = 1, seed: int = 0) -> torch.Tensor:
    return augment(numbered_images(count), torch.arange(count), epoch=epoch, seed=seed)


def is_mirrored(image: torch.Tensor) -> bool:
    """Whether columns run down from left to right in the middle, which no reflection at the edge reaches."""
    columns = image[1, SIDE // 2]
    return bool(columns[12] > columns[20])


def shift_of(image: torch.Tensor) -> tuple[int, int]:
    """Rows and columns by which the middle came from elsewhere, on the picture as it was before it was mirrored."""
    middle = SIDE // 2
    columns = SIDE - 1 - image[1] if is_mirrored(image) else image[1]
    return int(image[0, middle, middle]) - middle, int(columns[middle, middle]) - middle


def test_every_pixel_comes_from_the_same_image() -> None:
    images = changed(64)
    assert torch.equal(images[:, 2], numbered_images(64)[:, 2])


def test_a_record_is_mirrored_in_every_second_epoch() -> None:
    by_epoch = [[is_mirrored(image) for image in changed(200, epoch=epoch)] for epoch in (1, 2, 3, 4)]
    assert by_epoch[0] == by_epoch[2]
    assert by_epoch[1] == by_epoch[3]
    assert by_epoch[0] == [not mirrored for mirrored in by_epoch[1]]


def test_half_of_the_records_are_mirrored_in_an_epoch() -> None:
    assert 450 < sum(is_mirrored(image) for image in changed(1000)) < 550


def test_shifts_are_of_at_most_two_pixels_and_about_equally_frequent() -> None:
    shifts = [shift_of(image) for image in changed(2500)]
    counts = {shift: shifts.count(shift) for shift in set(shifts)}
    assert set(counts) == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    # 100 each on average; their standard deviation is 10.
    assert 60 < min(counts.values()) <= max(counts.values()) < 140


def test_shifts_differ_from_epoch_to_epoch_and_from_seed_to_seed() -> None:
    shifts = [shift_of(image) for image in changed(500, epoch=1)]
    for other in (changed(500, epoch=2), changed(500, seed=1)):
        same = sum(shift == shift_of(image) for shift, image in zip(shifts, other, strict=True))
        # One in 25 by chance.
        assert same < 50


def test_what_comes_in_at_the_edge_is_the_images_reflection() -> None:
    images = [image for image in changed(100) if shift_of(image) == (-2, 2) and not is_mirrored(image)]
    assert images
    # Two rows down: the first row is row 2 again, then 1, 0, 1, 2 ...
    assert images[0][0, :6, 0].tolist() == [2, 1, 0, 1, 2, 3]
    # Two columns to the left: ... 30, 31, then 30 and 29 again.
    assert images[0][1, 0, -4:].tolist() == [30, 31, 30, 29]


def test_a_record_is_changed_alike_in_any_batch() -> None:
    images, records = numbered_images(10), torch.arange(10)
    together = augment(images, records, epoch=3, seed=5)
    order = torch.tensor([7, 2, 9])
    assert torch.equal(augment(images[order], records[order], epoch=3, seed=5), together[order])


def test_the_images_given_stay_as_they_are() -> None:
    images = numbered_images(4)
    before = images.clone()
    augment(images, torch.arange(4), epoch=1, seed=0)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("height", "width", "most_down", "most_right"), [(18, 18, 1, 1), (96, 192, 6, 12), (4, 8, 1, 1)]
)
def test_the_shift_grows_with_the_image(height: int, width: int, most_down: int, most_right: int) -> None:
    rows = torch.arange(height).view(1, 1, height, 1).expand(3000, 1, height, width)
    columns = torch.arange(width).view(1, 1, 1, width).expand(3000, 1, height, width)
    images = augment(torch.cat([rows, columns], dim=1), torch.arange(3000), epoch=1, seed=0)
    down = images[:, 0, height // 2, 0] - height // 2
    right = images[:, 1, 0, width // 2] - width // 2
    assert (down.min(), down.max()) == (-most_down, most_down)
    # Mirrored, the middle pixel is the one before the middle.
    assert (right.min(), right.max()) == (-most_right - 1, most_right)


def test_types_shapes_and_empty_batches_are_kept() -> None:
    bytes_ = torch.randint(0, 256, (5, 3, SIDE, SIDE), dtype=torch.uint8)
    images = augment(bytes_, torch.arange(5), epoch=2, seed=1)
    assert images.dtype == torch.uint8
    assert images.shape == bytes_.shape
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert augment(bytes_[:0], torch.arange(0), epoch=2, seed=1).shape == (0, 3, SIDE, SIDE)


@pytest.mark.parametrize("seed", [0, -1, 2**31, 2**63 + 5])
def test_any_seed_will_do(seed: int) -> None:
    assert 30 < sum(is_mirrored(image) for image in changed(100, seed=seed)) < 70
