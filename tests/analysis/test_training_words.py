import pytest
from tests.analysis.made_trainings import a_row, a_training, simulate

from nodewise.analysis.training_time import KINDS, analyse_training
from nodewise.analysis.training_words import (
    KIND_NAMES,
    MISSING_NAMES,
    how_one_is_known,
    straggler_sentences,
    time_sentence,
    times_text,
)


def test_what_is_missing_is_told_by_its_causes_the_largest_first() -> None:
    # Worker 3 computes 4 s and the others 2 s: one would compute 10 s and take 10; four take 5, so 2.0x. Missing are
    # 4 x (1.5 s of extra compute, 0.75 s of communication, 0.25 s of images) / 5 s.
    rows = [a_row(rank, compute_s=2, wait_s=2, communicate_s=0.75, data_s=0.25) for rank in range(3)]
    rows.append(a_row(3, compute_s=4, communicate_s=0.75, data_s=0.25))
    assert time_sentence(analyse_training(a_training(rows))) == (
        "4 workers train 2.0x as fast as one would, estimated from their compute and evaluation times (ideal 4x): of "
        "the 2.0x that is missing, extra compute of the slowest worker takes 1.2x, communication 0.60x, waiting for "
        "images 0.20x."
    )


def test_a_measured_run_is_called_one() -> None:
    # One worker took 10 s for 200 records; two took 8 s for as many, of which they communicated for 3 s.
    alone = a_training([a_row(0, records=200, compute_s=10)])
    both = a_training([a_row(rank, compute_s=5, communicate_s=3) for rank in (0, 1)])
    assert time_sentence(analyse_training(both, single=alone)) == (
        "2 workers train 1.2x as fast as one did in a run of its own (ideal 2x): of the 0.75x that is missing, "
        "communication takes 0.75x."
    )
    assert "measured in a run of its own" in how_one_is_known(analyse_training(both, single=alone))
    assert "estimated, not measured" in how_one_is_known(analyse_training(both))


def test_what_is_won_elsewhere_is_told_too() -> None:
    # One worker waited 4 s for images, two of them only 1 s each, where 2 s would be ideal.
    alone = a_training([a_row(0, records=200, compute_s=10, data_s=4)])
    both = a_training([a_row(rank, compute_s=5, data_s=1, communicate_s=2) for rank in (0, 1)])
    # 14 s against 8 s: 1.75x. Communication 2 x 2 / 8 s, images 2 x -1 / 8 s.
    assert time_sentence(analyse_training(both, single=alone)).endswith(
        "of the 0.25x that is missing, communication takes 0.50x; 0.25x is won back elsewhere."
    )


def test_small_causes_are_told_together() -> None:
    # One would take 20 s, two take 20 s; checkpoints 0.2 s and the loop 0.8 s are 5 % of what is missing or more.
    rows = [a_row(rank, compute_s=10, communicate_s=9, checkpoint_s=0.2, seconds=20) for rank in (0, 1)]
    assert time_sentence(analyse_training(a_training(rows))).endswith(
        "of the 1.0x that is missing, communication takes 0.90x, all else 0.10x."
    )


@pytest.mark.parametrize("compute_s", [10, 12])
def test_the_ideal_or_better_misses_nothing(compute_s: float) -> None:
    alone = a_training([a_row(0, records=200, compute_s=compute_s)])
    both = a_training([a_row(rank, compute_s=5) for rank in (0, 1)])
    assert time_sentence(analyse_training(both, single=alone)).endswith("(ideal 2x): next to nothing is missing.")


def test_one_worker_tells_where_its_time_went() -> None:
    row = a_row(0, compute_s=54, data_s=4, evaluate_s=1.9, checkpoint_s=0.1, seconds=60)
    assert time_sentence(analyse_training(a_training([row]))) == (
        "1 worker trained for 60.0 s: compute 90 %, wait for images 7 %, evaluate 3 %."
    )


def test_where_nothing_is_known_nothing_is_said() -> None:
    for result in (a_training(world_size=4), a_training([a_row(0)]), a_training([a_row(0), a_row(1)])):
        time = analyse_training(result)
        assert time_sentence(time) == ""
        assert straggler_sentences(time) == []


def test_a_straggler_is_named_with_its_node_and_what_it_costs_the_others() -> None:
    rows = [a_row(rank, compute_s=5.1, wait_s=3.8, communicate_s=1.1) for rank in (0, 1, 3)]
    rows.append(a_row(2, compute_s=10))
    assert straggler_sentences(analyse_training(a_training(rows))) == [
        "worker 2 on node-2 computes at half (0.51x) the speed of the others, which wait 38 % of the time for it"
    ]


@pytest.mark.parametrize(
    ("times", "words"),
    [(1.6, "0.62x the speed"), (3.0, "a third of (0.33x) the speed"), (4.1, "a quarter of (0.24x) the speed")],
)
def test_speeds_have_names(times: float, words: str) -> None:
    rows = [a_row(0, compute_s=1, wait_s=times - 1), a_row(1, compute_s=times)]
    (sentence,) = straggler_sentences(analyse_training(a_training(rows)))
    assert f"computes at {words} of the other, which waits" in sentence


def test_workers_that_do_not_wait_for_a_straggler_are_not_said_to() -> None:
    many = [a_row(rank, compute_s=2 if rank == 1 else 1) for rank in range(3)]
    (sentence,) = straggler_sentences(analyse_training(a_training(many)))
    assert sentence.endswith("the speed of the others, which do not wait for it")
    (sentence,) = straggler_sentences(analyse_training(a_training(many[:2])))
    assert sentence.endswith("the speed of the other, which does not wait for it")


def test_of_many_stragglers_five_are_named() -> None:
    sentences = straggler_sentences(analyse_training(simulate(40, slow={rank: 2.0 + rank for rank in range(9)})))
    assert len(sentences) == 6
    assert sentences[0].startswith("worker 8 on node-8")
    assert sentences[-1] == "4 more workers take 1.5 times as long as the others, or longer"


def test_every_kind_has_its_names() -> None:
    assert tuple(KIND_NAMES) == tuple(MISSING_NAMES) == KINDS


def test_times_have_the_digits_that_a_measurement_can_tell() -> None:
    texts = [times_text(value) for value in (0.072, 0.99, 0.999, 2.56, 51.3)]
    assert texts == ["0.07x", "0.99x", "1.0x", "2.6x", "51.3x"]
