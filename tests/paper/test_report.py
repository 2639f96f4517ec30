"""The paper's page: whole, safe and readable; in a browser at two widths, and without scripts."""

import base64
import hashlib
import io
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dslite import paths
from dslite.errors import InputError
from dslite.paper import page as paper_page
from dslite.paper import report, verdicts
from dslite.paper.report import Edition, Picture
from tests.deployment import browser

STYLE, SCRIPT = (
    (paths.ROOT / "dslite" / "paper" / f"report.{kind}").read_text("utf-8")
    for kind in ("css", "js")
)

EVIL = "<script>alert('x')</script> & \"quoted\" </td>"
VOID = {"meta", "link", "img", "br", "input", "hr"}
NAN = np.nan


def number(key, value, verdict, low=NAN, high=NAN, reproduced=NAN, ci_low=NAN, ci_high=NAN, **more):
    table, first, *rest = key.split("/")
    dataset, configuration = ("", first) if table == "5" else (first, "/".join(rest[:-1]))
    told = {"unit": "%" if table in "34" else "", "status": "published", "remark": "", "runs": ""}
    told |= {"command": "", "date": "", "commit": "", "hardware": "", "seconds": NAN}
    told |= {"key": key, "table": int(table), "dataset": dataset, "configuration": configuration}
    told |= {"column": rest[-1], "value": value, "low": low, "high": high, "verdict": verdict}
    interval = {"reproduced_ci_low": ci_low, "reproduced_ci_high": ci_high}
    return told | {"reproduced": reproduced} | interval | more


RUN = {"runs": "ravdess/a;ravdess/b", "command": "dslite run ravdess --seed 0 && echo 'done'"}
RUN |= {"date": "2026-11-22", "commit": "abc1234", "hardware": "2 cores", "seconds": 7384.0}


def frames():
    numbers = [
        number("3/ccs/svm/test", 64.1, verdicts.RESTRICTED, 55.7, 72.8),
        number("3/css/cutmix+specaugment/ci_low", 55.1, verdicts.ITSELF, remark=EVIL),
        number("3/css/chance", 50.0, verdicts.REPRODUCED, reproduced=50.0),
        number("4/ravdess/none/test", 76.6, verdicts.OVERLAPPING, 72.7, 84.5, 70.0, 65, 74, **RUN),
        number("4/ravdess/cutmix/test", 72.1, verdicts.WEIGHTS, 65.3, 78.2),
        number("4/demos/none/devel", 40.0, verdicts.RESTRICTED),
        number("5/model_size/tf_model", 82.1, verdicts.CONTRADICTED, reproduced=29.871, unit="MB"),
        number("1/ravdess/files", 1012, verdicts.REPRODUCED, reproduced=1012.0),
        number("2/css/epochs_phase2", 120, verdicts.SETTING, status="assumed"),
    ]
    substitute = {
        "dataset": "ravdess",
        "configuration": "cutmix",
        "column": "test",
        "overrides": "",
    }
    substitute |= {"published": 72.1, "published_low": 65.3, "published_high": 78.2, "remark": ""}
    substitute |= {"backbone": "mobilenet_v2", "preset": "tuned", "label": "MobileNetV2, tuned"}
    substitute |= {
        "seeds": 3,
        "reproduced": 63.25,
        "deviation": 1.4,
        "reproduced_ci_low": 58,
        "reproduced_ci_high": 68,
    }
    substitute |= {"agreement": verdicts.OVERLAPPING, "key": "4/ravdess/cutmix/test"} | RUN
    other = substitute | {"label": EVIL, "reproduced": 41.0, "seeds": 1}
    return pd.DataFrame(numbers), pd.DataFrame([substitute, other])


def drawing(title):
    """An SVG as matplotlib writes it, with clip paths, markers that are used twice and a style."""
    figure = Figure(figsize=(5, 3))
    axes = figure.subplots()
    axes.plot([0, 1, 2], [0, 3, 1], "o-")
    axes.set_title(title)
    held = io.StringIO()
    figure.savefig(held, format="svg")
    return held.getvalue()


def pixels():
    held = io.BytesIO()
    Figure(figsize=(2, 1), dpi=50).savefig(held, format="png", dpi=50)
    return held.getvalue()


@pytest.fixture(scope="session")
def edition():
    numbers, substitutes = frames()
    summary = pd.crosstab(numbers["table"], numbers["verdict"])
    columns = ["id", "place", "printed", "derived", "holds", "explanation", "keys"]
    findings = [
        ("a", "Table 3, CSS", "55.1", EVIL, False, "Copied.", "3/css/cutmix+specaugment/ci_low"),
        ("b", "Table 3, CCS", "16.1 %", "16.1 %", True, "It is.", ""),
        ("c", "Table 9", "1", "2", False, "No such number.", "9/nothing/here"),
    ]
    said = {"id": "x", "section": "3.3", "statement": EVIL, "value": "16.1", "unit": "%"}
    said |= {"check": "test over test", "key": "", "derived": "16.07"}
    outcomes = ["holds", "does not hold", "not testable here: no phone"]
    sheet = (
        '<div class="sheet" id="sheet-3"><div class="scroll" role="region" tabindex="0" '
        'aria-label="Table 3"><table><caption>C</caption><thead><tr><th scope="col">A</th>'
        + '<th scope="col">Bbbbbbbbbbbbbbbbbb</th>' * 9
        + '</tr></thead><tbody><tr><th scope="row">a</th>'
        + "<td>1</td>" * 9
        + "</tr></tbody></table></div></div>"
    )
    return Edition(
        numbers=numbers,
        substitutes=substitutes,
        findings=pd.DataFrame(findings, columns=columns),
        claims=pd.DataFrame([said | {"outcome": outcome} for outcome in outcomes]),
        summary=summary,
        sheets={3: sheet},
        results={"Scores": pd.DataFrame({"test UAR in %": ["none"], EVIL: [EVIL]})},
        pictures=[
            Picture("forest", "Forest plot", "Both intervals.", 'Rows of "points".', drawing("a")),
            Picture("gain", "Gain", "By corpus.", "Bars of gain.", drawing("b")),
            Picture("mel", "Mel", "A Mel spectrogram.", "A picture.", png=pixels()),
        ],
        findings_text=["No augmentation is best.", EVIL],
        facts={"Built": "2026-11-22", EVIL: EVIL},
    )


@pytest.fixture(scope="session")
def page(edition):
    return report.html(edition)


class Elements(HTMLParser):
    """Elements in order as (name, attributes, enclosing names); complains of what is not nested."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert "svg" in (*self.open, tag), f"<{tag}/> closes itself, which HTML does not know"
        self.found.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.texts.append(data)

    def named(self, *tags):
        return [(attrs, within) for tag, attrs, within in self.found if tag in tags]


@pytest.fixture(scope="session")
def elements(page):
    return Elements(page)


# What is written


def row_of(page, anchor):
    """HTML of a number's row and of what is behind it."""
    return re.split(r'<tr id="|</tbody>', page.split(f'<tr id="{anchor}"')[1])[0]


def test_the_page_is_well_formed_and_has_its_landmarks(page, elements):
    assert page.startswith('<!doctype html>\n<html lang="en">')
    counted = Counter(tag for tag, _, _ in elements.found)
    assert [counted[tag] for tag in ("h1", "main", "header", "footer", "title")] == [1] * 5
    order = [attrs["id"] for attrs, within in elements.named("section") if within[-1] == "main"]
    assert order == list(report.CONTENTS)
    levels = [int(tag[1]) for tag, _, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_id_is_unique_and_every_reference_has_its_target(elements):
    ids = Counter(attrs["id"] for _, attrs, _ in elements.found if "id" in attrs)
    assert [name for name, times in ids.items() if times > 1] == []
    wanted = {attrs["href"] for _, attrs, _ in elements.found if "href" in attrs}
    wanted = {address for address in wanted if not address.startswith("data:")}
    for _, attrs, _ in elements.found:
        wanted |= {f"#{name}" for name in attrs.get("aria-labelledby", "").split()}
        wanted |= {m for v in attrs.values() if v for m in re.findall(r"url\((#[^)]+)\)", v)}
    assert {name for name in wanted if name[:1] != "#" or name[1:] not in ids} == set()
    assert {f"#{name}" for name in report.CONTENTS} <= wanted


def test_every_number_has_a_row_with_its_verdict_in_words(edition, page, elements):
    rows = {a["id"]: a["data-verdict"] for a, _ in elements.named("tr") if "id" in a}
    assert len(rows) == len(edition.numbers)
    for one in edition.numbers.itertuples():
        anchor = paper_page.target(one.key)
        assert rows[anchor] == paper_page.slug(one.verdict)
        row = row_of(page, anchor)
        assert f"</i> {one.verdict}</span>" in row


def test_verdicts_are_counted_by_table_and_in_all(edition, page):
    table = page.split('<table class="counts">')[1].split("</table>")[0]
    counted = re.findall(r"</i> ([^<]+)</span></th>((?:<td>\d+</td>)+)", table)
    found = {verdict: [int(n) for n in re.findall(r"\d+", cells)] for verdict, cells in counted}
    for verdict, (*by_table, everything) in found.items():
        assert by_table == edition.summary[verdict].to_list()
        assert everything == (edition.numbers["verdict"] == verdict).sum()
    assert set(found) == set(edition.numbers["verdict"])
    assert table.split("<tfoot>")[1].endswith(f"<td>{len(edition.numbers)}</td></tr></tfoot>")


def test_a_number_shows_both_values_their_distance_and_how_to_repeat_it(page):
    row = row_of(page, "n-4-ravdess-none-test")
    for said in ("76.6 %", "72.7 to 84.5", "70.0 %", "65.0 to 74.0", "−6.6", "2 h 3 min"):
        assert said in row
    assert "ravdess/a, ravdess/b" in row
    assert "<code>dslite run ravdess --seed 0 &amp;&amp; echo &#x27;done&#x27;</code>" in row


def test_a_substitute_is_never_taken_for_the_papers_number(page):
    row = row_of(page, "n-4-ravdess-cutmix-test")
    caveat = row.index(paper_page.words(paper_page.CAVEAT))
    assert caveat < row.index("MobileNetV2, tuned</b>: 63.2 % (58.0 to 68.0); 3 seeds")
    assert "<small>substi\u00adtutes: 41.0 to 63.2</small>" in row
    assert row.count('class="badge') == 1
    assert f"</i> {verdicts.WEIGHTS}</span>" in row


def test_what_many_numbers_of_a_corpus_share_is_said_once(edition):
    shared = "Not at hand."
    many = [number(f"3/ess/none/{n}", 1, verdicts.RESTRICTED, remark=shared) for n in range(3)]
    many.append(number("3/ess/chance", 33.3, verdicts.REPRODUCED, remark="1 / 3"))
    text = "".join(paper_page.tables(pd.DataFrame(many), edition.substitutes))
    assert text.count(shared) == text.count("1 / 3") == 1
    head = text.split('class="corpus"')[1].split("</tr>")[0]
    assert shared in head
    assert verdicts.RESTRICTED in head


def test_findings_that_fail_come_first_and_link_to_their_numbers(page):
    places = [page.index(f'id="finding-{name}"') for name in "acb"]
    assert places == sorted(places)
    before = page.split('id="finding-b"')[0]
    assert before.rindex("<details") > before.rindex('id="finding-c"')
    assert 'href="#n-3-css-cutmix-specaugment-ci-low"' in page
    assert "9-nothing" not in page


def test_tables_have_captions_and_headers_with_a_scope(elements):
    assert len(elements.named("table")) == len(elements.named("caption"))
    assert [attrs for attrs, _ in elements.named("th") if "scope" not in attrs] == []
    regions = [a for _, a, _ in elements.found if a.get("role") == "region"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in regions)
    assert len(regions) == len(elements.named("table")) + len(elements.named("figure"))


def test_every_picture_says_what_it_shows(edition, elements):
    svgs = [a for a, _ in elements.named("svg")]
    images = [a["alt"] for a, _ in elements.named("img")]
    assert [attrs["role"] for attrs in svgs] == ["img", "img"]
    assert [attrs["aria-label"] for attrs in svgs] + images == [p.alt for p in edition.pictures]


def test_nothing_lies_outside_of_the_page(page, elements):
    for _, attrs, _ in elements.found:
        for name in ("href", "src", "action", "data", "srcset", "poster", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    assert not re.search(r"https?://|url\((?!#)|@import|//[a-z0-9-]+\.[a-z]{2}", page)


def test_what_comes_from_data_is_escaped(page, elements):
    assert [within for _, within in elements.named("script")] == [("html", "body")]
    assert "alert('x')" not in page
    assert "".join(elements.texts).count("alert('x')") == page.count("alert(&#x27;x&#x27;)") >= 8


def test_the_policy_allows_the_one_script_and_nothing_else(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert "</" not in SCRIPT


def test_what_is_not_there_leaves_no_empty_part(edition):
    bare = Edition(
        **vars(edition)
        | {"pictures": [], "sheets": {}, "results": {}, "facts": {}, "findings_text": []}
        | {"substitutes": edition.substitutes.iloc[:0], "findings": edition.findings.iloc[:0]}
    )
    found = Elements(report.html(bare))
    sections = [attrs["id"] for attrs, _ in found.named("section")]
    assert sections == ["verdicts", "numbers", "claims"]
    linked = {attrs["href"] for attrs, within in found.named("a") if "nav" in within}
    assert {f"#{name}" for name in sections} <= linked
    assert not {"#figures", "#tables", "#facts", "#headlines", "#contradictions"} & linked


def test_writing_replaces_the_page(edition, page, tmp_path):
    file = tmp_path / "paper" / "report.html"
    assert report.write_page(edition, file) == file
    assert file.read_text("utf-8") == page
    assert [f.name for f in file.parent.iterdir()] == ["report.html"]


# Pictures


def test_two_drawings_share_no_id_and_no_style():
    first, second = (
        paper_page.markup(Picture(stem, "T", "C", "A", drawing("same"))) for stem in ("a b", "c")
    )
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip((first, second), ids, strict=True):
        used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
        assert used
        assert used <= own
    assert re.findall(r"<style[^>]*>\s*(\S+)", first) == ["#a-b-svg"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"svg": "<svg"}, "not an SVG"),
        ({"svg": "<p>no</p>"}, "not an SVG"),
        (
            {"svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="a.png"/></svg>'},
            "another file",
        ),
        ({"png": b"GIF89a"}, "not a PNG"),
    ],
)
def test_a_damaged_picture_is_refused(given, message):
    with pytest.raises(InputError, match=f"^gain: .*{message}"):
        paper_page.markup(Picture("gain", "T", "C", "A", **given))


@pytest.mark.parametrize("given", [{}, {"svg": "<svg/>", "png": b"x"}, {"svg": "x", "alt": " "}])
def test_a_picture_is_one_file_with_an_alt_text(given):
    with pytest.raises(InputError, match=r"^gain: "):
        Picture(**{"stem": "gain", "title": "T", "caption": "C", "alt": "A"} | given)


def test_a_drawing_brings_no_script():
    text = (
        '<svg xmlns="http://www.w3.org/2000/svg" onload="x()"><g><script>x()</script>'
        '<path id="p" d="M0 0"/></g></svg>'
    )
    assert paper_page.markup(Picture("a", "T", "C", "<A>", text)) == (
        '<svg id="a-svg" role="img" aria-label="&lt;A&gt;"><g><path id="a-p" d="M0 0" /></g></svg>'
    )


# Words and colours


def test_every_verdict_has_a_symbol_of_its_own_and_a_meaning():
    symbols = [paper_page.SYMBOLS.get(v, paper_page.OTHER)[0] for v in verdicts.ORDER]
    assert len(set(symbols)) == len(verdicts.ORDER)
    assert set(paper_page.MEANINGS) == set(verdicts.ORDER)


@pytest.mark.parametrize(
    ("value", "unit", "like", "text"),
    [
        *((64, "%", None, "64.0"), (0.0001, "", None, "0.0001"), (2.2679, "s", None, "2.2679")),
        *((29.87123, "MB", 30.0, "29.87"), (10039.0, "", 5531, "10039"), (NAN, "%", None, "")),
    ],
)
def test_numbers_as_text(value, unit, like, text):
    assert paper_page.plain(value, unit, like) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.4, "12 s"), (245, "4 min 5 s"), (7384, "2 h 3 min"), (NAN, "")]
)
def test_durations(seconds, text):
    assert paper_page.duration(seconds) == text


def colours():
    """Custom properties of the light and of the dark page."""
    light, dark = (
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{([^}]*)\}", STYLE)[:2]
    )
    return {"light": light, "dark": dark}


def luminance(colour):
    """Relative luminance of WCAG 2.2."""
    shares = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_both_grounds(theme):
    of = colours()[theme]
    assert set(of) == set(colours()["light"])
    for name in set(of) - {"ground", "card", "line"}:
        for ground in ("ground", "card"):
            high, low = sorted([luminance(of[name]), luminance(of[ground])], reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name} on {ground} ({theme})"


# In a browser


@pytest.fixture(scope="module")
def browsing(tmp_path_factory):
    pytest.importorskip("websocket")
    if not browser.program():
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with browser.started(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def opened(browsing, edition, tmp_path):
    """Opens the page as a file, at a width; afterwards it has said and asked for nothing."""
    file = report.write_page(edition, tmp_path / "report.html")
    browsing.requests.clear()
    browsing.errors.clear()
    heard, note = [], browsing._note

    def note_warnings(event, told):
        if event == "Log.entryAdded":
            heard.append(told["entry"]["text"])
        elif event == "Runtime.consoleAPICalled":
            heard.append(str(told["args"]))
        note(event, told)

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
    assert heard == browsing.errors == []
    assert {address for address in browsing.requests if not address.startswith("data:")} == {
        file.as_uri()
    }


def shown(tab):
    """Ids of the numbers' rows that are displayed, whatever is folded."""
    return set(
        tab.run(
            "[...document.querySelectorAll('#numbers tr[id]')].filter(row => [row, row.parentNode,"
            "row.closest('.fold')].every(e => getComputedStyle(e).display !== 'none'))"
            ".map(row => row.id)"
        )
    )


def choose(tab, **wanted):
    for name, value in wanted.items():
        tab.run(
            f"(() => {{ const s = document.querySelector('select[name={name}]');"
            f"s.value = '{value}'; s.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"
        )


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_not_wider_than_the_window(opened, width):
    tab = opened(width)
    tab.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert (
        tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    )
    seen = tab.run(
        "[...document.querySelectorAll('nav')].filter(n => n.offsetParent || n.offsetHeight)"
        ".map(n => n.className)"
    )
    assert seen == (["side"] if width == 1280 else ["top"])


@pytest.mark.parametrize("scripts", [True, False])
def test_the_filters_work_also_without_scripts(opened, edition, scripts):
    tab = opened(scripts=scripts)
    everything = {paper_page.target(key) for key in edition.numbers["key"]}
    assert shown(tab) == everything
    choose(tab, verdict=paper_page.slug(verdicts.REPRODUCED))
    assert shown(tab) == {"n-3-css-chance", "n-1-ravdess-files"}
    choose(tab, table="1")
    assert shown(tab) == {"n-1-ravdess-files"}
    choose(tab, verdict="", table="", corpus="ravdess")
    assert shown(tab) == {name for name in everything if "ravdess" in name}
    tab.run("document.getElementById('filter').reset()")
    assert shown(tab) == everything


def test_the_script_counts_unfolds_and_offers_to_copy(opened):
    tab = opened()
    assert tab.run("document.getElementById('shown').textContent") == "9 of 9 numbers"
    assert tab.run("document.getElementById('numbers-1').open") is False
    choose(tab, table="1")
    assert tab.run("document.getElementById('shown').textContent") == "1 of 9 numbers"
    assert tab.run("document.getElementById('numbers-1').open") is True
    tab.run("location.hash = '#n-4-ravdess-none-test'")
    tab.wait("document.getElementById('shown').textContent === '9 of 9 numbers'")
    tab.run("document.querySelector('#n-4-ravdess-none-test + tr details').open = true")
    said = tab.wait("document.querySelector('#n-4-ravdess-none-test + tr button')?.textContent")
    assert said == "Copy"
    tab.run("document.querySelector('#n-4-ravdess-none-test + tr button').click()")
    done = "document.querySelector('#n-4-ravdess-none-test + tr button').textContent"
    assert tab.wait(f"{done} !== 'Copy' && {done}") in ("Copied", "Selected")


def test_paper_shows_what_the_screen_folds_and_no_controls(opened):
    tab = opened(scripts=False)
    tab.call("Emulation.setEmulatedMedia", media="print")
    heights = tab.run(
        "[...document.querySelectorAll('details > :not(summary)')].map(e => e.closest('nav') ? 1"
        " : e.getBoundingClientRect().height)"
    )
    assert heights
    assert all(height > 0 for height in heights)
    assert tab.run("getComputedStyle(document.querySelector('.filter')).display") == "none"
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
