"""The report: whole, safe and readable; in a browser at two widths, and without scripts."""

import base64
import gzip
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from io import StringIO
from itertools import pairwise, product
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
from seaborn.utils import relative_luminance

from dslite import paths
from dslite.paper import comparisons, figures, published, report, tables
from dslite.paper.figures import PaperFigure
from dslite.provenance import duration_in_words
from tests.deployment import browser
from tests.refusals import assert_refused

EVIL = "<script>alert('x')</script> & \"quoted\" </td>"
VOID = {"meta", "link", "img", "br", "input", "hr"}
NAN = np.nan
RECORDS = paths.ROOT / "results" / "records"
COMMITTED = paths.ROOT / "results" / "paper"
STYLE = (paths.ROOT / "dslite/paper/report.css").read_text("utf-8")


def number(key, value, verdict, reproduced=NAN, published=(NAN, NAN), ours=(NAN, NAN), **more):
    table, first, *rest = key.split("/")
    dataset, configuration = ("", first) if table == "5" else (first, "/".join(rest[:-1]))
    row = dict.fromkeys(["half_widths", "remark", "runs", "command"], "")
    row |= dict.fromkeys(["date", "commit", "hardware"], "")
    row |= {"unit": "%" if table in "34" else "", "status": "published", "seconds": NAN}
    row |= {"key": key, "table": int(table), "dataset": dataset, "configuration": configuration}
    row |= {"column": rest[-1], "value": value, "verdict": verdict, "reproduced": reproduced}
    row |= dict(zip(("low", "high"), published, strict=True))
    return row | dict(zip(("reproduced_ci_low", "reproduced_ci_high"), ours, strict=True)) | more


RUN = {"runs": "ravdess/a;ravdess/b", "command": "dslite run ravdess --seed 0 && echo 'done'"}
RUN |= {"date": "2026-11-22", "commit": "abc1234", "hardware": "2 cores", "seconds": 7384.0}


def frames():
    """Numbers of every kind, and substitutes of one of them."""
    numbers = [
        number("3/ccs/svm/test", 64.1, published.RESTRICTED, NAN, (55.7, 72.8)),
        number("3/css/cutmix+specaugment/ci_low", 55.1, published.ITSELF, remark=EVIL),
        number("3/css/chance", 50.0, published.COMPUTED, 50.0),
        number(
            *("4/ravdess/none/test", 76.6, published.OVERLAPPING, 70, (72.7, 84.5), (65, 74)),
            **RUN | {"half_widths": "± 6 / ± 4"},
        ),
        number("4/ravdess/cutmix/test", 72.1, published.WEIGHTS, NAN, (65.3, 78.2)),
        number("4/demos/none/devel", 40.0, published.RESTRICTED),
        number("5/model_size/tf_model", 82.1, published.CONTRADICTED, 29.871, unit="MB"),
        number("1/ravdess/files", 1012, published.EQUAL, 1012.0),
        number("5/parameters/tflite_phone", 7.6, published.NOT_RUN, status="assumed", unit="M"),
        number("2/css/epochs_phase2", 120, published.SETTING, status="assumed"),
    ]
    one = {"dataset": "ravdess", "configuration": "cutmix", "column": "test", "overrides": ""}
    one |= {"published": 72.1, "published_low": 65.3, "published_high": 78.2, "remark": ""}
    one |= {"backbone": "mobilenet_v2", "preset": "tuned", "label": "MobileNetV2, tuned"}
    one |= {"reproduced_ci_low": 58, "reproduced_ci_high": 68, "reproduced": 63.25, "seeds": 3}
    one |= {"deviation": 1.4, "agreement": published.OVERLAPPING, "key": "4/ravdess/cutmix/test"}
    other = one | {"label": EVIL, "reproduced": 41.0, "seeds": 1}
    return pd.DataFrame(numbers), pd.DataFrame([one | RUN, other | RUN])


@pytest.fixture(scope="session")
def evil(material):
    """Tables whose texts are markup, which the page has to show as it stands."""
    columns = ["id", "place", "printed", "derived", "holds", "grade", "explanation", "keys"]
    copied = ("Copied.", "3/css/cutmix+specaugment/ci_low")
    findings = [
        ("a", "Table 3, CSS", "55.1", EVIL, False, "arithmetic", *copied),
        ("b", "Table 3, CCS", "16.1 %", "16.1 %", True, "", "It is.", ""),
        ("c", "Table 9", "1", "2", False, "wording", "No such number.", "9/nothing/here"),
    ]
    claim = {"id": "x", "section": "3.3", "statement": EVIL, "value": "16.1", "unit": "%"}
    claim |= {"check": "test over test", "key": "", "derived": "16.07"}
    outcomes = ["holds", "does not hold", "not testable here: no phone"]
    made_up = dict(zip(("numbers", "substitutes"), frames(), strict=True))
    made_up["findings"] = pd.DataFrame(findings, columns=columns)
    made_up["claims"] = pd.DataFrame([claim | {"outcome": outcome} for outcome in outcomes])
    return replace(material, **made_up)


PNG = b"\x89PNG\r\n"
PICTURES = [
    PaperFigure("forest", "Forest plot", "Both intervals.", 'Rows of "points".', b"<svg>1</svg>"),
    PaperFigure("gain", EVIL, "By corpus.", "Bars of gain.", PNG),
]


@pytest.fixture(scope="session")
def page(evil, material):
    sheets = report.sheets(material)
    return report.html(evil, {name: sheets[name] for name in ("3", "4b", "5")}, PICTURES)


class Elements(HTMLParser):
    """Elements in order as (name, attributes, enclosing names); complains of what is not nested."""

    def __init__(self, text):
        super().__init__()
        self.listed, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.listed.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert "svg" in (*self.open, tag), f"<{tag}/> closes itself, which HTML does not know"
        self.listed.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.texts.append(data)

    def named(self, *tags):
        return [(attrs, within) for tag, attrs, within in self.listed if tag in tags]


@pytest.fixture(scope="session")
def elements(page):
    return Elements(page)


# The page


def row_of(page, anchor):
    """HTML of a number's row."""
    return page.split(f'<tr id="{anchor}"')[1].split("</tr>")[0]


def words_of(html):
    """The text of a piece of the page, as a reader sees it."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_page_is_well_formed_and_goes_from_the_short_to_the_long(page, elements):
    assert page.startswith('<!doctype html>\n<html lang="en">')
    counted = Counter(tag for tag, _, _ in elements.listed)
    assert [counted[tag] for tag in ("h1", "main", "header", "footer", "title")] == [1] * 5
    order = [attrs["id"] for attrs, within in elements.named("section") if within[-1] == "main"]
    assert order == [
        *("abstract", "verdicts", "tables", "figures", "differences", "numbers"),
        *("contradictions", "claims", "facts"),
    ]
    levels = [int(tag[1]) for tag, _, _ in elements.listed if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_reference_has_its_target_and_every_part_its_files(elements):
    ids = Counter(attrs["id"] for _, attrs, _ in elements.listed if "id" in attrs)
    assert [name for name, times in ids.items() if times > 1] == []
    wanted = {attrs["href"] for _, attrs, _ in elements.listed if "href" in attrs} - {"data:,"}
    assert {name for name in wanted if name[0] == "#" and name[1:] not in ids} == set()
    assert {"#abstract", "#numbers-3", "#tables"} <= wanted
    others = {name for name in wanted if name[0] != "#"}
    assert "https://doi.org/10.3389/frai.2022.856232" in others
    files = {name for name in others if not name.startswith("https://doi.org/")}
    assert {"table4b.csv", "table5.tex", "figures/forest.svg", "figures/gain.png"} <= files
    assert all(not PurePosixPath(name).is_absolute() and ".." not in name for name in files)


def test_every_number_has_a_row_with_its_verdict_in_words_and_is_counted(evil, page, elements):
    rows = {a["id"]: a["data-verdict"] for a, _ in elements.named("tr") if "id" in a}
    assert len(rows) == len(evil.numbers)
    for one in evil.numbers.itertuples():
        anchor = report.target(one.key)
        assert rows[anchor] == report.slug(one.verdict)
        assert f"</i> {one.verdict}</span>" in row_of(page, anchor)
    table = page.split('<table class="counts">')[1].split("</table>")[0]
    counted = re.findall(r"</i> ([^<]+)</span></th>((?:<td>\d+</td>)+)", table)
    counts = {verdict: [int(n) for n in re.findall(r"\d+", cells)] for verdict, cells in counted}
    expected = pd.crosstab(evil.numbers["verdict"], evil.numbers["table"])
    assert counts == {verdict: [*row, row.sum()] for verdict, row in expected.iterrows()}
    assert table.split("<tfoot>")[1].endswith(f"<td>{len(evil.numbers)}</td></tr></tfoot>")


def test_a_number_shows_both_values_their_distance_and_how_to_repeat_it(page):
    row = row_of(page, "n-4-ravdess-none-test")
    for text in (
        *("76.6 %", "72.7 to 84.5", "70.0 %", "65.0 to 74.0", ">−6.6<", duration_in_words(7384)),
        *("ravdess/a, ravdess/b", ">No augmentation, test</th>"),
        f"</i> {published.OVERLAPPING}</span> (± 6 / ± 4)",
        "<code>dslite run ravdess --seed 0 &amp;&amp; echo &#39;done&#39;</code>",
    ):
        assert text in row
    size = row_of(page, "n-5-model-size-tf-model")
    assert "29.9 MB" in size
    assert ">−52.2<" in size  # to the decimals that are printed
    assert ">0<" in row_of(page, "n-1-ravdess-files")
    assert "assumed: see Table 2" in row_of(page, "n-2-css-epochs-phase2")
    phone = row_of(page, "n-5-parameters-tflite-phone")
    assert "assumed: printed once for two columns" in phone


def test_a_substitute_is_never_taken_for_the_papers_number(page):
    row = row_of(page, "n-4-ravdess-cutmix-test")
    ours = "MobileNetV2, tuned : 63.2 % (58.0 to 68.0); 3 seeds, deviation 1.4, overlapping. "
    assert ours + "No reproduction of DenseNet121" in words_of(row)
    assert row.count('class="badge') == 1
    assert f"</i> {published.WEIGHTS}</span>" in row


def test_a_corpus_that_was_not_run_is_one_folded_line_that_says_why_once(evil):
    shared = "Not at hand."
    many = [number(f"3/ess/none/{n}", 1, published.RESTRICTED, remark=shared) for n in range(3)]
    many.append(number("3/ess/chance", 33.3, published.COMPUTED, 33.3, remark="1 / 3"))
    many.append(number("3/ccs/none/test", 71.1, published.COMPATIBLE, 71.0))
    text = report.html(replace(evil, numbers=pd.DataFrame(many)), {}, [])
    assert text.count(shared) == text.count("1 / 3") == 1
    folds = re.findall(r'<details class="fold corpus"><summary>(.*?)</summary>', text)
    (line,) = map(words_of, folds)
    assert line == f"ESS ⊘ {published.RESTRICTED} 4 numbers"


def test_findings_and_claims_that_fail_come_first(page):
    places = [page.index(f'id="finding-{name}"') for name in "acb"]
    assert places == sorted(places)
    assert '<a href="#n-3-css-cutmix-specaugment-ci-low">Table 3, CSS, cutmix' in page
    assert "9-nothing" not in page
    claims = words_of(page.split('id="claims"')[1].split("</section>")[0])
    assert "of 3 claims 1 do not hold" in claims
    assert claims.index("1 claims that do not hold") < claims.index("2 claims that hold")
    assert "not testable here: no phone" in claims


def test_the_recipes_are_laid_beside_each_other(page, material):
    table = report.recipes(material)["RAVDESS"].set_index("setting")
    assert list(table) == ["paper", "repaired", "tuned", "authors"]
    assert table.loc["learning_rate", ["paper", "repaired"]].tolist() == ["0.001", "1.0"]
    assert table.loc["optimizer", ["paper", "tuned"]].tolist() == ["adadelta", "adam"]
    assert "sample_rate" not in table.index  # the same in both
    box = words_of(page.split("Recipes.")[1].split("</details>")[0])
    assert f"They differ in {len(table)} settings on RAVDESS" in box
    assert "optimizer" in box


def test_pictures_and_what_scrolls_say_what_they_show(elements):
    regions = [a for _, a, _ in elements.listed if a.get("role") == "region"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in regions)
    images = [attrs for attrs, _ in elements.named("img")]
    kinds = [attrs["src"].partition(";")[0] for attrs in images]
    assert kinds == ["data:image/svg+xml", "data:image/png"]
    contents = [base64.b64decode(attrs["src"].partition(",")[2]) for attrs in images]
    alts = [attrs["alt"] for attrs in images]
    assert list(zip(alts, contents, strict=True)) == [(one.alt, one.figure) for one in PICTURES]


def test_what_comes_from_data_is_escaped_and_nothing_is_loaded(page, elements):
    assert [within for _, within in elements.named("script")] == [("html", "body")]
    assert "alert('x')" not in page
    assert "".join(elements.texts).count("alert('x')") >= 7
    for _, attrs, _ in elements.listed:
        for name in ("src", "action", "data", "srcset", "poster"):
            assert attrs.get(name, "data:").startswith("data:")
    assert not re.search(r"url\((?!#)|@import", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    assert "</" not in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"


def test_what_is_not_there_leaves_no_empty_part(evil):
    empty = ("runs", "substitutes", "findings", "answers", "scores")
    bare = replace(evil, **{name: getattr(evil, name).iloc[:0] for name in empty})
    elements = Elements(report.html(bare, {}, []))
    sections = [attrs["id"] for attrs, _ in elements.named("section")]
    assert sections == ["abstract", "verdicts", "tables", "numbers", "claims", "facts"]
    linked = {attrs["href"] for attrs, within in elements.named("a") if "nav" in within}
    assert {f"#{name}" for name in sections} == linked


# Words and colours


def test_text_can_be_read_on_both_grounds():
    blocks = re.findall(r":root \{([^}]*)\}", STYLE)[:2]
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block)) for block in blocks)
    assert set(light) == set(dark)
    for of in (light, dark):
        for name, ground in product(set(of) - {"ground", "card", "line"}, ("ground", "card")):
            low, high = sorted(map(relative_luminance, (of[name], of[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name} on {ground} {of[ground]}"


# All files


def test_without_any_run_every_number_still_has_a_verdict_and_a_command(results):
    nothing = report.gather()
    numbers, printed = nothing.numbers, published.numbers()
    pd.testing.assert_frame_equal(numbers[printed.columns], printed)
    assert numbers["verdict"].isin(published.ORDER).all()
    assert numbers["verdict"].eq(published.ITSELF).any()  # by `published.findings`
    assert numbers["command"].str.startswith(("dslite ", "for seed in ")).all()
    page = report.html(nothing, report.sheets(nothing), [])
    assert "not run: corpus restricted" in page
    assert "no runs" in page
    drawn = figures.figures(nothing.runs, numbers, nothing.scores, nothing.answers)
    assert [figure.stem for figure in drawn] == ["gains"]


def test_the_headlines_begin_for_everybody_and_are_the_same_everywhere(material, page, evil):
    lines = report.headlines(material)
    assert "guessing gets 17 right; our recipe (tuned) 71 to 85; a support vector" in lines[0]
    assert "none could be reproduced or contradicted" in lines[1]
    assert "of RAVDESS, recipes were chosen on: tuned on all of them" in lines[2]
    failed = (~material.findings["holds"]).sum()
    assert f"contradicts itself in {failed} places" in lines[-1]
    readme, whole = (report.readme_section(material, name) for name in report.READMES)
    assert readme.splitlines()[1] == whole.splitlines()[1] == lines[0]  # first, and no list's item
    for line in lines[1:]:
        assert f"\n- {line}\n" in whole
    abstract = words_of(page.split('id="abstract"')[1].split("</section>")[0])
    first = report.headlines(evil)[0]
    assert unescape(abstract).removeprefix("> In short ").startswith(first)
    assert max(map(len, report.results(material).popitem()[1].to_numpy().ravel())) < 40


def test_everything_is_written_the_page_last_and_again_the_same(
    material, elsewhere, tmp_path, monkeypatch
):
    monkeypatch.setenv("DSLITE_RESULTS", str(elsewhere / "results"))
    written = report.write_results(material, tmp_path / "written")
    files = {
        file.relative_to(written.parent).as_posix(): file.read_bytes()
        for file in written.parent.rglob("*.*")
    }
    expected = {f"{name}.csv" for name in report.CSV}
    names = ("1", "2", "3", "4", "4b", "5")
    expected |= {f"table{name}.{kind}" for name in names for kind in ("csv", "md", "tex")}
    charts = ("figure2-ravdess", "figure3-ravdess", "forest-ravdess", "gains")
    expected |= {f"figures/{stem}.svg" for stem in charts}
    assert set(files) == expected | {"report.html"}
    assert written == max(written.parent.rglob("*.*"), key=lambda file: file.stat().st_mtime_ns)
    assert [name for name, content in files.items() if str(elsewhere).encode() in content] == []
    again = report.write_results(material, tmp_path / "again")
    for file in again.parent.rglob("*.*"):
        name = file.relative_to(again.parent).as_posix()
        assert file.read_bytes() == files[name], name


def test_a_file_in_the_place_of_the_folder_is_refused(elsewhere, command, tmp_path, monkeypatch):
    monkeypatch.setenv("DSLITE_RESULTS", str(elsewhere / "results"))
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    assert_refused(command("paper", tmp_path / "taken"), "cannot be written", worked=True)
    assert (tmp_path / "taken").read_text("utf-8") == "mine"


# As it is committed


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """What `make paper` makes of the committed records, its tables only."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("records")
        (folder / "records").symlink_to(RECORDS)
        patch.setenv("DSLITE_RESULTS", str(folder))
        patch.setenv("DSLITE_DATA", str(folder / "raw"))
        yield report.gather()


def test_the_readmes_say_what_the_records_say(rebuilt):
    for name in report.READMES:
        text = (paths.ROOT / name).read_text("utf-8")
        section = report.readme_section(rebuilt, name)
        assert comparisons.inserted(text, section) == text, "run make paper"


def test_the_committed_tables_are_those_of_the_records(rebuilt):
    how = {"keep_default_na": False, "na_values": [""]}
    for name in ("numbers", "substitutes", "answers", "means", "findings", "claims"):
        committed = pd.read_csv(COMMITTED / f"{name}.csv", **how)
        current = pd.read_csv(StringIO(getattr(rebuilt, name).to_csv(index=False)), **how)
        pd.testing.assert_frame_equal(committed, current, rtol=1e-9)  # if not: run make paper
    assert (COMMITTED / "report.html").stat().st_size < 1e6
    for n, sheet in report.sheets(rebuilt).items():
        texts = {"md": tables.to_markdown, "tex": tables.to_latex, "csv": tables.to_csv}
        for suffix, written in texts.items():
            committed = (COMMITTED / f"table{n}.{suffix}").read_text("utf-8")
            assert committed == written(sheet), f"table{n}.{suffix}: run make paper"


def test_the_records_name_no_folder_of_a_machine_and_hold_no_audio():
    files = [file for file in [*RECORDS.rglob("*"), *COMMITTED.rglob("*")] if file.is_file()]
    assert {RECORDS / "ravdess/runs.csv", COMMITTED / "report.html"} <= set(files)
    texts = {".csv", ".json", ".md", ".html", ".tex", ".yaml"}
    others = {".svg", ".png", ".pdf", ".gz"}
    assert {file.suffix for file in files} <= texts | others
    private = r"/(home|work|tmp|root|Users)/\w|shared/|data:audio|<audio"
    for file in files:
        if file.suffix in texts | {".gz"}:
            text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            assert not re.search(private, text.decode()), file.name


# In a browser


@pytest.fixture(scope="module")
def browsing(tmp_path_factory):
    pytest.importorskip("websocket")
    if not browser.program():
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with browser.started(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def opened(browsing, page, tmp_path):
    """Opens the page as a file, at a width; afterwards it has said and asked for nothing."""
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    browsing.requests.clear()
    browsing.errors.clear()
    messages, note = [], browsing._note

    def note_warnings(event, parameters):
        if event == "Log.entryAdded":
            messages.append(parameters["entry"]["text"])
        elif event == "Runtime.consoleAPICalled":
            messages.append(str(parameters["args"]))
        note(event, parameters)

    browsing._note = note_warnings

    def go(width=1280, scripts=True):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browsing.call("Emulation.setDeviceMetricsOverride", **size)
        browsing.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        browsing.open(file.as_uri())
        return browsing

    yield go
    browsing.run("0")  # what was said before the answer has been heard with it
    del browsing._note
    browsing.call("Emulation.setScriptExecutionDisabled", value=False)
    browsing.call("Emulation.setEmulatedMedia", media="")
    assert messages == browsing.errors == []
    assert {address for address in browsing.requests if not address.startswith("data:")} == {
        file.as_uri()
    }


def shown(tab):
    """Ids of the numbers' rows that are not filtered away, whatever is folded."""
    rows = "[...document.querySelectorAll('#numbers tr[id]')]"
    return set(tab.run(f"{rows}.filter(row => !row.closest('[hidden]')).map(row => row.id)"))


def choose(tab, **wanted):
    for name, value in wanted.items():
        tab.run(
            f"(() => {{ const s = document.querySelector('select[name={name}]');"
            f"s.value = '{value}'; s.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"
        )


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_not_wider_than_the_window_and_the_verdict_comes_first(opened, width):
    tab = opened(width)
    tab.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    page = "document.documentElement"
    assert tab.run(f"{page}.scrollWidth - {page}.clientWidth") == 0
    row = "document.querySelector('#n-4-ravdess-none-test')"
    top = f"{row}.querySelector('%s').getBoundingClientRect().top"
    above = tab.run(f"{top % '.verdict'} < {top % 'th'}")
    assert above == (width == 390)
    assert tab.run("[...document.images].every(i => i.clientWidth <= innerWidth)")


@pytest.mark.browser
def test_the_filter_counts_unfolds_and_says_when_nothing_is_left(opened, evil):
    tab = opened()
    everything = {report.target(key) for key in evil.numbers["key"]}
    counter, folded = "document.querySelector('output').textContent", "numbers-1"
    folded = f"document.getElementById('{folded}').open"
    assert shown(tab) == everything
    assert tab.run(f"[{counter}, {folded}]") == ["10 of 10 numbers", False]
    choose(tab, verdict=report.slug(published.EQUAL))
    assert shown(tab) == {"n-1-ravdess-files"}
    choose(tab, table="1")
    assert shown(tab) == {"n-1-ravdess-files"}
    assert tab.run(f"[{counter}, {folded}]") == ["1 of 10 numbers", True]
    choose(tab, table="2")
    assert tab.run(counter) == f"no number with: {published.EQUAL}, Table 2"
    tab.run("location.hash = '#n-4-ravdess-none-test'")
    tab.wait(f"{counter} === '10 of 10 numbers'")
    assert shown(tab) == everything


@pytest.mark.browser
def test_without_scripts_everything_can_be_read_and_there_is_no_filter(opened, evil):
    tab = opened(scripts=False)
    assert shown(tab) == {report.target(key) for key in evil.numbers["key"]}
    assert tab.run("getComputedStyle(document.getElementById('filter')).display") == "none"


@pytest.mark.browser
def test_paper_shows_what_the_screen_folds_and_no_controls(opened):
    tab = opened(scripts=False)
    tab.call("Emulation.setEmulatedMedia", media="print")
    heights = tab.run(
        "[...document.querySelectorAll('details > :not(summary)')]"
        ".map(e => e.getBoundingClientRect().height)"
    )
    assert min(heights) > 0
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
