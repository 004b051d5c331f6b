import math
from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llm4gen_model.training.buckets import Buckets, bucket_rows, bucket_sizes, nearest_size, time_ids
from llm4gen_model.training.data import batch_rows


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 25), min_size=1, max_size=5).filter(any),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 3),
)
def test_batches_are_of_one_bucket_and_every_epoch_holds_every_row_once(
    sizes: list[int], batch_size: int, seed: int
) -> None:
    numbers = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    buckets = Buckets(numbers)
    n_steps = math.ceil(3 * len(numbers) / batch_size) + len(sizes)
    batches = [bucket_rows(buckets, batch_size, seed, step) for step in range(n_steps)]
    assert all(len(batch) == batch_size for batch in batches)
    assert all(len({numbers[row] for row, _ in batch}) == 1 for batch in batches)
    seen = Counter(pair for batch in batches for pair in batch)
    assert max(seen.values()) == 1
    assert all((row, epoch) in seen for row in range(len(numbers)) for epoch in range(3))


def test_a_step_is_found_without_the_steps_before() -> None:
    numbers = np.arange(500) % 7
    in_order = [bucket_rows(Buckets(numbers), 6, 1, step) for step in range(200)]
    fresh = Buckets(numbers)
    assert [bucket_rows(fresh, 6, 1, step) for step in reversed(range(200))][::-1] == in_order
    assert bucket_rows(fresh, 6, 2, 0) != in_order[0]


def test_buckets_come_in_an_order_of_chance_not_one_after_another() -> None:
    numbers = np.repeat([0, 1], 300)
    drawn = [numbers[bucket_rows(Buckets(numbers), 10, 0, step)[0][0]] for step in range(60)]
    assert sum(drawn) == 30
    assert 10 < sum(a != b for a, b in pairwise(drawn)) < 50


def test_one_bucket_holds_the_same_rows_an_epoch_as_none() -> None:
    one = [row for step in range(10) for row in bucket_rows(Buckets(np.zeros(40, int)), 4, 0, step)]
    none = [row for step in range(10) for row in batch_rows(40, 4, 0, step)]
    assert sorted(one) == sorted(none)


def test_sizes_are_multiples_within_the_area_and_ratio() -> None:
    sizes = bucket_sizes(512, 64)
    assert (512, 512) in sizes
    assert (384, 640) in sizes
    assert (640, 384) in sizes
    for height, width in sizes:
        assert height % 64 == width % 64 == 0
        assert 0.6 * 512**2 < height * width <= 512**2
        assert max(height / width, width / height) <= 2
    assert len(bucket_sizes(1024, 64)) == len({h / w for h, w in bucket_sizes(1024, 64)})


def test_an_image_goes_to_the_nearest_ratio() -> None:
    sizes = bucket_sizes(512, 64)
    assert nearest_size((1000, 1000), sizes) == (512, 512)
    assert nearest_size((1080, 1920), sizes) == nearest_size((108, 192), sizes)
    assert nearest_size((9, 16), sizes) == nearest_size((16, 9), sizes)[::-1]
    assert nearest_size((100, 3000), sizes) == (384, 640)


def test_time_ids_are_those_of_diffusers_for_a_centre_crop() -> None:
    # 1200 x 800 covers 512 x 512 as 768 x 512: 128 of it fall away at the left
    assert time_ids((800, 1200), (512, 512)) == [800, 1200, 0, 128, 512, 512]
    assert time_ids((300, 300), (1024, 1024)) == [300, 300, 0, 0, 1024, 1024]
    assert time_ids((1000, 500), (640, 384)) == [1000, 500, 64, 0, 640, 384]
