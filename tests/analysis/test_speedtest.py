import json
import math
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
from tests.analysis.speedtests import analyse, make_cell, make_short, realistic, simulate

from nodewise.analysis.speedtest import average, fit, residuals
from nodewise.analysis.speedtest_fits import LINES, PLANE_FORMULA, TIME_FORMULA, predict_rate
from nodewise.analysis.speedtest_summary import is_faster, summarize, sustained
from nodewise.analysis.speedtest_words import format_rate, format_share, format_short_time
from nodewise.specs.results import SpeedtestCell, SpeedtestFit, SpeedtestResult


def rate_cells(rates: dict[tuple[int, int], tuple[float, ...]], **facts: str) -> list[SpeedtestCell]:
    """Cells with these rates, by batch size and batch count, one for each repetition."""
    return [
        make_cell(batch_size=size, batch_count=count, repeat=repeat, seconds=size * count / rate, **facts)
        for (size, count), group in rates.items()
        for repeat, rate in enumerate(group)
    ]


def by_formula(cells: list[SpeedtestCell]) -> dict[str, SpeedtestFit]:
    fits = fit(cells)
    assert len({(one.source, one.reader) for one in fits}) <= 1
    return {one.formula: one for one in fits}


class TestAverage:
    def test_rates_are_averaged_over_every_parameter(self) -> None:
        cells = rate_cells({(2, 6): (100.0, 140.0), (4, 3): (200.0, 240.0), (4, 6): (300.0, 300.0)})
        means = {(mean.parameter, mean.value): (mean.records_per_s, mean.n) for mean in average(cells)}
        assert means == pytest.approx(
            {
                ("all", 0): (pytest.approx(1280 / 6), 6),
                ("batch_size", 2): (pytest.approx(120.0), 2),
                ("batch_size", 4): (pytest.approx(260.0), 4),
                ("batch_count", 3): (pytest.approx(220.0), 2),
                ("batch_count", 6): (pytest.approx(210.0), 4),
                # 2 x 6 and 4 x 3 are both 12 images.
                ("records", 12): (pytest.approx(170.0), 4),
                ("records", 24): (pytest.approx(300.0), 2),
                ("repeat", 0): (pytest.approx(200.0), 3),
                ("repeat", 1): (pytest.approx(680 / 3), 3),
            }
        )

    def test_the_deviation_is_that_of_a_sample_and_none_of_a_single_cell(self) -> None:
        cells = rate_cells({(2, 3): (1.0, 2.0, 3.0)})
        deviations = {mean.parameter: mean.records_per_s_sd for mean in average(cells)}
        assert deviations == {
            "all": pytest.approx(1.0),
            "batch_size": pytest.approx(1.0),
            "batch_count": pytest.approx(1.0),
            "records": pytest.approx(1.0),
            "repeat": None,
        }

    def test_a_short_cell_is_never_a_rate(self) -> None:
        good, other = rate_cells({(2, 3): (100.0, 900.0)})
        means = average([good, make_short(other)])
        assert [mean.records_per_s for mean in means] == pytest.approx([100.0] * 5)
        assert average([make_short(good), make_short(other)]) == ()

    def test_sources_and_readers_are_kept_apart_in_their_order(self) -> None:
        cells = [make_cell(source=source, reader=reader) for source in "ba" for reader in ("torch", "nodewise")]
        pairs = [(mean.source, mean.reader) for mean in average(cells) if mean.parameter == "all"]
        assert pairs == [("b", "torch"), ("b", "nodewise"), ("a", "torch"), ("a", "nodewise")]


class TestFit:
    def test_a_line_over_the_batch_size_is_worked_out_by_hand(self) -> None:
        # Twice (2, 100), (4, 200), (6, 600): slope 125, intercept -200; the deviations are 50, -100, 50, twice, so
        # RSS = 30,000, s2 = 7,500, Sxx = 16, and 280,000 is the sum of squares around the mean of 300.
        cells = rate_cells({(2, 5): (100.0, 100.0), (4, 5): (200.0, 200.0), (6, 5): (600.0, 600.0)})
        line = by_formula(cells)[LINES["batch_size"]]
        assert line.coefficients == pytest.approx({"a": -200.0, "b": 125.0})
        assert line.standard_errors == pytest.approx(
            {"a": math.sqrt(7500 * (1 / 6 + 16 / 16)), "b": math.sqrt(7500 / 16)}
        )
        assert line.r2 == pytest.approx(1 - 30 / 280)
        assert line.n == 6
        # Without 2: through (4, 200) and (6, 600), -200 there. Without 4: 350. Without 6: 300.
        assert line.cv_error == pytest.approx(math.sqrt(((-300 / 100) ** 2 + (150 / 200) ** 2 + (300 / 600) ** 2) / 3))

    def test_known_costs_are_found_again(self) -> None:
        fits = by_formula(simulate(start=0.012, per_record=0.0002, per_batch=0.001, noise=0.03, repeat=10))
        of_time = fits[TIME_FORMULA]
        assert of_time.coefficients == pytest.approx(
            {"start": 0.012, "per_record": 0.0002, "per_batch": 0.001}, rel=0.05
        )
        for name, true in (("start", 0.012), ("per_record", 0.0002), ("per_batch", 0.001)):
            assert abs(of_time.coefficients[name] - true) < 3 * of_time.standard_errors[name]
        assert of_time.r2 > 0.98
        # What is left is the noise.
        assert of_time.cv_error == pytest.approx(0.03, rel=0.15)

    @pytest.mark.parametrize("seed", range(5))
    def test_data_that_add_up_times_are_best_told_by_the_formula_of_time(self, seed: int) -> None:
        cells = simulate(start=0.02, per_record=0.0002, per_batch=0.001, noise=0.1, seed=seed)
        assert [one.formula for one in fit(cells) if one.best] == [TIME_FORMULA]

    @pytest.mark.parametrize(
        ("parameter", "value"),
        [
            ("batch_size", lambda size, count: size),
            ("batch_count", lambda size, count: count),
            ("records", lambda size, count: size * count),
        ],
    )
    def test_data_on_a_line_are_best_told_by_that_line(self, parameter: str, value: object) -> None:
        assert callable(value)
        cells = rate_cells(
            {(size, count): (100 + 5 * value(size, count),) * 2 for size in (2, 4, 8) for count in (3, 6, 18)}
        )
        (best,) = [one for one in fit(cells) if one.best]
        assert best.formula == LINES[parameter]
        assert best.coefficients == pytest.approx({"a": 100.0, "b": 5.0})
        assert best.r2 == pytest.approx(1.0)

    def test_the_plane_finds_all_its_terms(self) -> None:
        cells = rate_cells(
            {
                (size, count): (50 + 3 * size + 2 * count + 0.5 * size * count,)
                for size in (2, 4, 8)
                for count in (3, 6, 18)
            }
        )
        plane = by_formula(cells)[PLANE_FORMULA]
        assert plane.coefficients == pytest.approx({"a": 50.0, "b": 3.0, "c": 2.0, "d": 0.5})
        assert plane.best

    def test_a_cost_at_its_bound_has_no_standard_error(self) -> None:
        # Larger batches cost less for each image than the sum of its parts allows: a batch would cost less than 0.
        cells = [
            make_cell(
                batch_size=size,
                batch_count=count,
                repeat=repeat,
                seconds=0.01 + 0.001 * size * count - 0.0005 * count,
            )
            for size in (2, 4, 8)
            for count in (3, 6, 18)
            for repeat in (0, 1)
        ]
        of_time = by_formula(cells)[TIME_FORMULA]
        assert of_time.coefficients["per_batch"] == 0.0
        assert set(of_time.standard_errors) == {"start", "per_record"}

    def test_short_cells_change_nothing(self) -> None:
        cells = simulate(start=0.01, per_record=0.0002, per_batch=0.001, noise=0.1)
        wrong = [make_short(make_cell(batch_size=8, batch_count=18, repeat=number, seconds=9.0)) for number in range(3)]
        assert fit([*cells, *wrong]) == fit(cells)

    @pytest.mark.parametrize(
        ("cells", "formulas"),
        [
            ([], set()),
            ([make_cell()], set()),
            ([make_cell(repeat=number, seconds=0.01 + number / 1000) for number in range(9)], set()),
            ([make_cell(batch_size=2), make_cell(batch_size=4)], set()),
            ([make_short(cell) for cell in simulate(start=0.01, per_record=0.001, per_batch=0.001)], set()),
            # Leaving out one of two values leaves a single one.
            (simulate(start=0.01, per_record=0.001, per_batch=0.001, counts=(3,), sizes=(2, 4)), set()),
            (
                simulate(start=0.01, per_record=0.001, per_batch=0.001, counts=(3,)),
                {LINES["batch_size"], LINES["records"]},
            ),
            (
                simulate(start=0.01, per_record=0.001, per_batch=0.001, sizes=(2,)),
                {LINES["batch_count"], LINES["records"]},
            ),
        ],
        ids=["none", "one", "one setting", "two points", "all short", "two sizes", "one count", "one size"],
    )
    def test_fits_that_cannot_be_made_are_left_out(self, cells: list[SpeedtestCell], formulas: set[str]) -> None:
        fits = fit(cells)
        assert {one.formula for one in fits} == formulas
        assert sum(one.best for one in fits) == bool(formulas)

    @pytest.mark.parametrize("repeat", [1, 3])
    def test_a_constant_rate_is_told_by_any_formula_and_the_simplest_is_best(self, repeat: int) -> None:
        fits = fit(simulate(start=0.0, per_record=0.0001, per_batch=0.0, repeat=repeat))
        assert len(fits) == 5
        (best,) = [one for one in fits if one.best]
        assert len(best.coefficients) == 2
        assert best.coefficients == pytest.approx({"a": 10_000.0, "b": 0.0}, abs=1e-6)
        assert {one.r2 for one in fits if one.formula != TIME_FORMULA} == {0.0}

    def test_all_numbers_are_finite(self) -> None:
        # json refuses what is not.
        extreme = [
            *simulate(start=0.0, per_record=1e-9, per_batch=0.0, source="instant"),
            *simulate(start=4000.0, per_record=0.0, per_batch=0.0, source="slow"),
            *simulate(start=0.01, per_record=0.001, per_batch=0.01, noise=2.0, source="noisy"),
        ]
        assert len(json.dumps([asdict(one) for one in fit(extreme)], allow_nan=False)) > 1000

    def test_a_cell_that_took_no_time_has_no_rate(self) -> None:
        cells = simulate(start=0.01, per_record=0.0002, per_batch=0.001, noise=0.1)
        instant = replace(make_cell(), seconds=0.0, records_per_s=math.inf)
        assert fit([*cells, instant]) == fit(cells)
        assert average([instant]) == ()


class TestResiduals:
    def test_they_are_of_the_fit_s_own_cells_and_side(self) -> None:
        cells = rate_cells({(2, 5): (100.0,) * 2, (4, 5): (200.0,) * 2, (6, 5): (600.0,) * 2})
        line = by_formula(cells)[LINES["batch_size"]]
        other = make_cell(reader="torch")
        found = residuals([other, *cells, make_short(cells[0])], line)
        assert [one.cell for one in found] == cells
        assert [one.measured for one in found] == pytest.approx([100, 100, 200, 200, 600, 600])
        assert [one.predicted for one in found] == pytest.approx([50, 50, 300, 300, 550, 550])
        assert [one.rate_error for one in found[::2]] == pytest.approx([-0.5, 0.5, -1 / 12])

    def test_of_time_they_are_seconds_and_the_error_is_still_that_of_the_rate(self) -> None:
        cells = simulate(start=0.01, per_record=0.0002, per_batch=0.001, noise=0.1)
        of_time = by_formula(cells)[TIME_FORMULA]
        for one in residuals(cells, of_time):
            rate = predict_rate(of_time, batch_size=one.cell.batch_size, batch_count=one.cell.batch_count)
            assert one.measured == one.cell.seconds
            assert rate == pytest.approx(one.cell.records / one.predicted)
            assert one.cell.records_per_s is not None
            assert one.rate_error == pytest.approx(rate / one.cell.records_per_s - 1)

    def test_a_fit_to_cells_that_are_gone_has_none(self) -> None:
        (one, *_) = fit(simulate(start=0.01, per_record=0.0002, per_batch=0.001))
        assert residuals([], one) == []


class TestSummaries:
    def test_a_reader_is_summed_up_over_its_cells(self) -> None:
        first, second = rate_cells({(2, 3): (100.0,), (4, 6): (300.0,)})
        cells = [
            replace(first, from_cache=1.0, bytes=100, device_bytes=0, start_seconds=0.1),
            replace(second, from_cache=0.5, bytes=300, device_bytes=200, start_seconds=0.2),
            replace(make_short(first), start_seconds=0.6),
        ]
        (one,) = summarize(analyse(cells, imports_s={"nodewise": 0.5}))
        assert (one.records, one.bytes, one.device_bytes, one.num_short) == (30, 400, 200, 1)
        assert one.records_per_s == pytest.approx(200.0)
        assert one.records_per_s_sd == pytest.approx(math.sqrt(2) * 100)
        assert one.record_s == pytest.approx((6 / 100 + 24 / 300) / 30)
        assert one.open_s == pytest.approx(0.3)
        assert one.import_s == 0.5
        # 100 of 100 and 150 of 300 bytes.
        assert one.from_cache == pytest.approx(0.625)

    def test_what_was_not_measured_is_none(self) -> None:
        known, unknown = make_cell(), make_cell(repeat=1, from_cache=None)
        (one,) = summarize(analyse([known, unknown]))
        assert one.device_bytes is None
        assert one.from_cache == 1.0
        (all_short,) = summarize(analyse([make_short(known)]))
        assert (all_short.records_per_s, all_short.record_s, all_short.from_cache) == (None, None, None)
        assert sustained(all_short) is None

    def test_the_longest_cells_are_those_with_the_most_images_then_the_largest_batches(self) -> None:
        (one,) = summarize(analyse(rate_cells({(2, 6): (1.0,), (4, 6): (20.0, 40.0), (2, 12): (50.0,)})))
        longest = sustained(one)
        assert longest is not None
        assert (longest.batch_size, longest.batch_count) == (4, 6)
        assert longest.records_per_s == pytest.approx(30.0)

    def test_noise_makes_no_one_faster_and_a_lead_beyond_it_does(self) -> None:
        def faster(ratio: float, seed: int) -> bool:
            costs = {"start": 0.01, "per_record": 0.0002, "per_batch": 0.0}
            slower = {name: cost * ratio for name, cost in costs.items()}
            cells = simulate(**costs, noise=0.1, seed=seed)
            cells += simulate(**slower, noise=0.1, seed=900 + seed, reader="torch")
            one, other = summarize(SpeedtestResult(cells=tuple(cells), means=(), fits=(), sentence=""))
            return is_faster(one, other) or is_faster(other, one)

        assert sum(faster(1.0, seed) for seed in range(20)) == 0
        assert all(faster(1.2, seed) for seed in range(5))

    def test_few_pairs_or_none_decide_nothing(self) -> None:
        def first_is_faster(num_pairs: int, *, shifted: bool = False) -> bool:
            slow = [make_cell(reader="slow", repeat=number + 9 * shifted, seconds=1.0) for number in range(num_pairs)]
            fast = [make_cell(repeat=number, seconds=0.1) for number in range(num_pairs)]
            one, other = summarize(analyse([*fast, *slow]))
            return is_faster(one, other)

        assert [first_is_faster(count) for count in (1, 3, 4)] == [False, False, True]
        assert not first_is_faster(9, shifted=True)


def sentence_of(*cells: SpeedtestCell, **facts: object) -> str:
    return analyse(cells, **facts).sentence


def two_readers(ratio: float) -> list[SpeedtestCell]:
    """A rate of 6,000 images/s in the longest cells of nodewise, and ``ratio`` times the time for torch."""
    costs = {"start": 0.0006, "per_record": 0.00014, "per_batch": 0.0002}
    slower = {name: cost * ratio for name, cost in costs.items()}
    return [
        *simulate(**costs, noise=0.05, seed=1),
        *simulate(**slower, noise=0.05, seed=2, reader="torch"),
    ]


class TestSentence:
    def test_the_winner_its_lead_its_costs_its_ceiling_and_the_cache_are_told(self) -> None:
        result = analyse(
            [
                *two_readers(2.0),
                *simulate(start=0.2, per_record=0.0014, per_batch=0.002, noise=0.05, reader="ray.data"),
            ],
            ceilings={"shards": {"read": 92_000.0, "decode": 7600.0}},
        )
        first, second, third = (mean.records_per_s for mean in result.means if mean.parameter == "all")
        assert result.sentence.startswith(
            f"Fastest is nodewise on shards with {format_rate(first)} images/s on average over 48 cells; "
            f"{format_rate(first / second)}x torch, the next reader of this source, and "
            f"{format_rate(first / third)}x ray.data, the slowest. There, starting an iteration takes 0."
        )
        model = next(one for one in result.fits if one.formula == TIME_FORMULA)
        for name, word in (
            ("start", "starting an iteration takes"),
            ("per_batch", "a batch"),
            ("per_record", "an image"),
        ):
            assert f"{word} {format_short_time(model.coefficients[name])}" in result.sentence
        summary = summarize(result)[0]
        longest = sustained(summary)
        assert longest is not None
        rate = longest.records_per_s
        assert (
            f"Its longest cells (18 batches of 8) gave {format_rate(rate)} images/s, {rate / 76:.0f} % of what "
            f"decoding alone allows on this machine (7,600): a training step that can use more waits for "
            f"data, and one that can use {format_rate(2 * rate)} waits half of its time."
        ) in result.sentence
        assert result.sentence.endswith(
            "Cells ran one after another; 100 % of the bytes came from the page cache: this is memory speed, not "
            "storage speed."
        )

    def test_within_the_noise_no_winner_is_named(self) -> None:
        sentence = sentence_of(*two_readers(1.0))
        assert sentence.startswith("No winner can be named within the noise of 48 cells each: ")
        assert "Fastest" not in sentence
        assert "the slowest" not in sentence
        assert "With nodewise on shards, starting" in sentence or "With torch on shards, starting" in sentence

    def test_what_is_clearly_slower_than_the_equals_is_told(self) -> None:
        slow = simulate(start=0.2, per_record=0.0014, per_batch=0.002, noise=0.05, reader="ray.data")
        assert "; slowest is ray.data on shards with " in sentence_of(*two_readers(1.0), *slow)

    def test_sources_are_compared_for_the_same_reader(self) -> None:
        cells = [
            *rate_cells({(2, 3): (9000.0,) * 4}, source="raw"),
            *rate_cells({(2, 3): (3000.0,) * 4}, source="jpeg"),
            *rate_cells({(2, 3): (1000.0,) * 4}, source="photos"),
        ]
        assert "3x jpeg, the next source for this reader, and 9x photos, the slowest." in sentence_of(*cells)

    def test_two_of_a_kind_are_told_in_fewer_words(self) -> None:
        cells = [*rate_cells({(2, 3): (9000.0,) * 4}), *rate_cells({(2, 3): (3000.0,) * 4}, reader="torch")]
        assert "; 3x torch, the only other reader of this source." in sentence_of(*cells)

    def test_another_reader_of_another_source_is_named_in_full(self) -> None:
        other = rate_cells({(2, 3): (3000.0,) * 4}, source="photos", reader="torch")
        assert "; 3x torch on photos, the next." in sentence_of(*rate_cells({(2, 3): (9000.0,) * 4}), *other)

    def test_a_single_cell_claims_no_more_than_it_shows(self) -> None:
        assert sentence_of(make_cell(seconds=0.012)) == (
            "nodewise on shards gave 500 images/s in its only cell. There, an image took 2 ms on average, all "
            "included; what a batch or the start of an iteration costs cannot be told from these cells. Its "
            "longest cells (3 batches of 2) gave 500 images/s: a training step that can use more waits for data, and "
            "one that can use 1,000 waits half of its time. Cells ran one after another; 100 % of the bytes "
            "came from the page cache: this is memory speed, not storage speed."
        )

    def test_costs_that_do_not_stand_out_are_not_told_as_numbers(self) -> None:
        sentence = sentence_of(*simulate(start=0.02, per_record=0.0002, per_batch=0.0, noise=0.1, seed=3))
        assert "; no cost of a batch stands out of the noise." in sentence
        assert "a batch 0" not in sentence

    def test_a_formula_that_does_not_meet_new_settings_is_not_cited(self) -> None:
        sentence = sentence_of(*simulate(start=0.02, per_record=0.0002, per_batch=0.001, noise=1.0, seed=1))
        assert "costs cannot be told from these cells" in sentence
        assert "starting an iteration takes" not in sentence

    def test_a_rate_at_the_ceiling_is_as_much_as_it_allows(self) -> None:
        cells = rate_cells({(2, 3): (990.0,)})
        sentence = sentence_of(*cells, ceilings={"shards": {"read": 1000.0, "decode": 2000.0}})
        assert "990 images/s, as much as reading the bytes alone allows on this machine (1,000):" in sentence

    @pytest.mark.parametrize(
        ("shares", "words"),
        [
            ((0.996, 0.996), "99 % of the bytes came from the page cache: this is memory speed, not storage speed."),
            ((0.03, 0.0), "0 % to 3 % of the bytes came from the page cache: this is storage speed."),
            ((0.5, 0.5), "50 % of the bytes came from the page cache: memory speed and storage speed are mixed."),
            ((0.02, 1.0), "2 % to 100 % of the bytes came from the page cache: compare those of like shares."),
            ((None, None), "how much of the bytes came from the page cache could not be measured."),
            ((None, 1.0), "100 % of the bytes came from the page cache: this is memory speed, not storage speed."),
        ],
    )
    def test_the_cache_share_says_what_speed_it_is(self, shares: tuple[float | None, float | None], words: str) -> None:
        one, other = shares
        assert sentence_of(make_cell(from_cache=one), make_cell(reader="torch", from_cache=other)).endswith(words)

    def test_short_cells_are_counted(self) -> None:
        cells = rate_cells({(2, 3): (100.0, 100.0, 100.0)})
        assert sentence_of(*cells[:2], make_short(cells[2])).endswith("; 1 of 3 cells came out short and has no rate.")
        assert sentence_of(cells[0], *map(make_short, cells[1:])).endswith(
            "; 2 of 3 cells came out short and have no rate."
        )

    def test_without_any_rate_there_is_no_speed_to_tell(self) -> None:
        short = [make_short(cell) for cell in rate_cells({(2, 3): (100.0, 100.0)})]
        end = "came out short, with fewer images than batch size x batch count."
        assert sentence_of(*short) == f"There is no rate: all 2 cells {end}"
        assert sentence_of(short[0]) == f"There is no rate: the only cell {end}"

    def test_without_any_cell_the_reasons_are_told(self) -> None:
        assert sentence_of(left_out={"torch": "not installed"}) == "Nothing was measured (torch: not installed)."
        assert sentence_of() == "Nothing was measured."

    def test_cells_in_parallel_may_have_slowed_each_other(self) -> None:
        assert " Cells ran in parallel on 4 nodes and may have slowed each other; " in sentence_of(
            make_cell(), order="parallel", nodes=4
        )

    def test_many_sources_and_readers_make_four_sentences(self) -> None:
        sentence = realistic().sentence
        assert sentence.count(". ") == 3
        assert sentence.endswith("1 of 768 cells came out short and has no rate.")


@pytest.mark.parametrize(
    ("rate", "text"), [(5943.2, "5,940"), (41234, "41,200"), (12.34, "12.3"), (0.4217, "0.422"), (99.96, "100")]
)
def test_rates_have_three_digits_that_count(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.23, "1.2 s"), (0.0119, "12 ms"), (0.00013, "0.13 ms"), (4.12e-6, "4.1 µs"), (0.0, "0 s"), (123.4, "120 s")],
)
def test_short_times_have_two_digits_that_count(seconds: float, text: str) -> None:
    assert format_short_time(seconds) == text


def test_shares_are_never_all_or_nothing_unless_they_are() -> None:
    texts = [format_share(share) for share in (0.0, 0.0001, 0.012, 0.5, 0.994, 0.9999, 1.0, 1.07)]
    assert texts == ["0 %", "1 %", "1 %", "50 %", "99 %", "99 %", "100 %", "107 %"]
    assert all(one != other for one, other in pairwise([texts[0], texts[1], texts[3]]))
