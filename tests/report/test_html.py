import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.report.pages import Page

from nodewise.report.html import Evidence, PredictedImage, write_html
from nodewise.specs.results import ComparisonResult, ScenarioResult

MakeScenario = Callable[..., ScenarioResult]
MakeComparison = Callable[..., ComparisonResult]
LIMIT_BYTES = 300_000


@pytest.fixture
def write(tmp_path: Path, evidence: Evidence) -> Callable[..., str]:
    def write_and_read(comparison: ComparisonResult, images: tuple[PredictedImage, ...] = ()) -> str:
        path = tmp_path / "report" / "index.html"
        write_html(path, comparison, images=images, evidence=evidence)
        assert [entry.name for entry in path.parent.iterdir()] == ["index.html"]
        return path.read_text(encoding="utf-8")

    return write_and_read


def an_image(label: str, predicted: str, *, size: int = 8) -> PredictedImage:
    buffer = io.BytesIO()
    Image.new("L", (size, size), 200).save(buffer, "PNG")
    return PredictedImage(png=buffer.getvalue(), label=label, predicted=predicted, probability=0.71)


def test_the_verdict_comes_before_every_table(write: Callable[..., str], example: ComparisonResult) -> None:
    text = Page(write(example)).text
    assert text.index(example.verdict[:60]) < text.index("Billed time") < text.index("Evidence")


def test_the_page_loads_nothing_from_outside(write: Callable[..., str], example: ComparisonResult) -> None:
    source = write(example, tuple(an_image(str(digit), str(digit)) for digit in range(9)))
    page = Page(source)
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#"))
    assert "@import" not in source
    assert not re.search(r"url\(\s*['\"]?(?!#)", source)


def test_the_policy_forbids_all_but_inline_style_and_data_images(
    write: Callable[..., str], example: ComparisonResult
) -> None:
    policies = [
        attributes["content"]
        for tag, attributes in Page(write(example)).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "{{7*7}}", "{% raw %}", '"><img src=x onerror=alert(1)>', "a & 'b'"],
    ids=ascii,
)
def test_hostile_names_are_text(
    write: Callable[..., str], scenario: MakeScenario, comparison: MakeComparison, name: str
) -> None:
    hostile = comparison(
        scenario(name, tags={name: name}, node_type=name),
        scenario("other", nodes=5),
        name=name,
        left_out={name + "2": name},
    )
    page = Page(write(hostile, (an_image(name, "x"),)))
    assert name in "".join(page.words)
    assert not any(tag == "script" for tag, _ in page.tags)
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert [source[:15] for source in sources] == ["data:image/png;"]


def test_every_emulated_cost_says_what_it_is(write: Callable[..., str], example: ComparisonResult) -> None:
    html = write(example)
    cells = re.findall(r'<td class="cost[^"]*">(.*?)</td>', html, flags=re.DOTALL)
    assert len(cells) == 4
    assert all("if run on Standard_DS3_v2 at this speed" in cell for cell in cells)
    # The stages of a scenario stand beside one head, which says it for all of them.
    heads = re.findall(r'<th scope="rowgroup" rowspan="3">(.*?)</th>', html, flags=re.DOTALL)
    assert len(heads) == 4
    assert all("cost if run on Standard_DS3_v2 at this speed" in head for head in heads)


def test_real_costs_carry_no_condition(
    write: Callable[..., str], scenario: MakeScenario, comparison: MakeComparison
) -> None:
    text = Page(write(comparison(scenario("one", emulated=False), scenario("five", nodes=5, emulated=False)))).text
    assert "emulated" not in text
    assert "at this speed" not in text


def test_unknown_costs_are_never_shown_as_zero(
    write: Callable[..., str], scenario: MakeScenario, comparison: MakeComparison
) -> None:
    page = Page(write(comparison(scenario("one", price=None), scenario("five", nodes=5, price=None))))
    assert "unknown" in page.text
    assert "$" not in page.text[: page.text.index("Evidence")]
    assert "Cost against time" not in page.text


def test_the_table_has_the_numbers_of_the_comparison(
    write: Callable[..., str], scenario: MakeScenario, comparison: MakeComparison
) -> None:
    # 51 s; 5 nodes: 25.5 s, so 2.00x, 40 % and 2.5 times the cost of 0.36 x 51 / 3600 = 0.0051 USD for 1797 images.
    text = Page(
        write(
            comparison(
                scenario("one", price=0.36),
                scenario("five", nodes=5, start_up=2.5, prepare=5.0, train=15.0, score=2.0, price=0.36),
            )
        )
    ).text
    for number in ("51.0 s", "25.5 s", "2.00x", "40 %", "$0.0051", "2.50x", "$0.0028 per 1000 images", "95.2 %"):
        assert number in text


def test_best_and_worse_are_told_by_sign_and_class(
    write: Callable[..., str], scenario: MakeScenario, comparison: MakeComparison
) -> None:
    source = write(comparison(scenario("one"), scenario("five", nodes=5, train=10.0)))
    assert re.search(r'<td class="best">31\.0 s.*?title="best">&#9733;', source)
    assert re.search(r'<td class="cost worse">\s*<span title="worse than the baseline">&#9660;', source)


def test_left_out_scenarios_keep_their_reason(
    write: Callable[..., str], scenario: MakeScenario, comparison: MakeComparison
) -> None:
    text = Page(write(comparison(scenario("one"), left_out={"spark-5": "Java 17 or later is not installed"}))).text
    assert "spark-5 : Java 17 or later is not installed" in text


def test_a_report_of_nothing_but_left_out_scenarios_can_be_read(
    write: Callable[..., str], comparison: MakeComparison
) -> None:
    text = Page(write(comparison(baseline="spark", left_out={"spark": "no Java"}))).text
    assert "No scenario could run here" in text
    assert "Evidence" in text


def test_predictions_are_marked_right_or_wrong_in_words(write: Callable[..., str], example: ComparisonResult) -> None:
    text = Page(write(example, (an_image("3", "3"), an_image("3", "8")))).text
    assert "\u2713 right 3, 71 %" in text
    assert "\u2717 wrong 8, 71 % is 3" in text


def test_nine_images_are_shown_at_most(write: Callable[..., str], example: ComparisonResult) -> None:
    page = Page(write(example, tuple(an_image("3", "3") for _ in range(12))))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 9
    assert all(image["alt"] for image in images)


def test_each_chart_has_a_title_and_its_data(write: Callable[..., str], example: ComparisonResult) -> None:
    tags = [tag for tag, _ in Page(write(example)).tags]
    assert tags.count("svg") == tags.count("desc") == tags.count("details") == 3
    assert tags.count("title") == 3 + 1


def test_evidence_is_complete(write: Callable[..., str], example: ComparisonResult, evidence: Evidence) -> None:
    text = Page(write(example)).text
    for fact in (
        evidence.machine,
        "8.0 GiB",
        evidence.fingerprint,
        "pyspark 4.0.1",
        evidence.source,
        *evidence.commands,
        *evidence.price_notes,
        *evidence.warnings,
        "2026-11-21 10:15:00 UTC",
        "ray-5-nodes-run-0",
    ):
        assert fact in text


def test_ranges_are_shown_when_runs_were_repeated(
    write: Callable[..., str], repeated_example: ComparisonResult
) -> None:
    # 36.5 s, 3 % up and down
    assert "35.4-37.6 s 3 runs" in Page(write(repeated_example)).text


def test_nine_photos_keep_the_file_below_the_limit(write: Callable[..., str], example: ComparisonResult) -> None:
    folder = (
        Path(os.environ.get("NODEWISE_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "flowers"
    )
    photos = sorted(folder.glob("*/*.jpg"))[::80][:9]
    if len(photos) < 9:
        pytest.skip(f"no photos under {folder}: set NODEWISE_TEST_DATA")
    images = []
    for photo in photos:
        buffer = io.BytesIO()
        with Image.open(photo) as image:
            image.resize((192, 192)).save(buffer, "PNG")
        images.append(
            PredictedImage(png=buffer.getvalue(), label=photo.parent.name, predicted="tulips", probability=0.5)
        )
    assert sum(len(image.png) for image in images) > LIMIT_BYTES
    source = write(example, tuple(images))
    assert source.count("data:image/jpeg;base64,") == 9
    assert len(source.encode()) < LIMIT_BYTES


def test_eight_scenarios_stay_below_the_limit(
    write: Callable[..., str], scenario: MakeScenario, comparison: MakeComparison
) -> None:
    many = [scenario(f"scenario number {nodes}", nodes=nodes, repeats=3, train=30.0 / nodes) for nodes in range(1, 9)]
    assert len(write(comparison(*many)).encode()) < LIMIT_BYTES
