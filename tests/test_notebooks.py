"""The notebooks' one shape, their parameters, their execution by machine, and the HTML page."""

import ast
import html
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from nbclient.exceptions import DeadKernelError
from papermill.parameterize import parameterize_notebook

from dslite import notebooks, paths
from dslite.errors import InputError, NotebookError
from dslite.evaluation import metrics
from dslite.settings import Settings
from tests.deployment import browser
from tests.refusals import refusal

COMMITTED = sorted((paths.ROOT / "notebooks").glob("*.ipynb"))
BOOKS = {file: nbformat.read(file, as_version=4) for file in COMMITTED}
each = pytest.mark.parametrize(("file", "book"), BOOKS.items(), ids=[f.stem for f in BOOKS])


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def parameters(book):
    lines = book.cells[1].source.splitlines()
    parts = [re.match(r"(\w+): (str|int|float|bool) = (.+?)  # (.+)$", line) for line in lines]
    assert all(parts), "not 'name: type = value  # help'"
    return [part.groups() for part in parts]


def test_there_are_seven_numbered_in_their_order_and_one_to_start_with():
    assert [file.stem for file in COMMITTED] == ["0_start", *notebooks.ORDER]
    assert [file.stem[:2] for file in COMMITTED] == [f"{n}_" for n in range(8)]
    names = [line[0] for line in {line for book in BOOKS.values() for line in parameters(book)}]
    assert sorted(names) == sorted(set(names))  # shared parameters have the same help


@each
def test_a_title_then_the_parameters_and_at_the_end_the_results(file, book):
    title, first, *_, heading, last = book.cells
    assert re.match(rf"# {file.stem[0]} \w", title.source)
    headings = [cell for cell in book.cells if cell.source.startswith("# ")]
    assert [cell for cell in headings if cell.cell_type == "markdown"] == [title]
    assert [c for c in book.cells if "parameters" in c.metadata.get("tags", [])] == [first]
    assert heading.source.startswith("## Files")
    assert "stage.save(" in last.source
    _, begin = code(book)[:2]
    call = f'stage = notebooks.begin("{file.stem}", globals())'
    assert begin.source == f"from dslite import notebooks\n\n{call}"
    rest = "".join(cell.source for cell in code(book)[:-1])
    assert not re.search(r"plots\.save|to_csv|write_json|tensorflow_logging", rest)


@each
def test_it_asks_builds_the_method_in_its_cells_and_is_no_longer_than_a_chapter(file, book):
    texts = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    assert "\n## Question\n" in texts[0]
    assert (450 if file.stem == "0_start" else 600) <= len(" ".join(texts).split()) <= 1200
    assert re.search(r"\$[^$]+\$", "\n".join(texts))
    trees = [ast.walk(ast.parse(cell.source)) for cell in code(book)]
    nodes = [node for tree in trees for node in tree]
    defined = {n.name: n.end_lineno - n.lineno for n in nodes if isinstance(n, ast.FunctionDef)}
    assert len(defined) >= 5
    assert [name for name, lines in defined.items() if lines >= 25] == []
    # What is built by hand is held to the package's.
    calls = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    assert any(call.startswith("np.testing.assert_") for call in calls) or file.stem == "7_paper"


@each
def test_parameters_are_plain_assignments_that_papermill_reads_with_their_help(file, book):
    inspected = papermill.inspect_notebook(str(file))
    assert list(inspected) == [name for name, *_ in parameters(book)]
    for name, kind, value, text in parameters(book):
        assert type(ast.literal_eval(value)).__name__ == kind, name
        assert inspected[name]["inferred_type_name"] == kind
        assert inspected[name]["help"] == text


@each
def test_no_parameter_is_without_effect(file, book):
    """What is no setting is used in the cells; what has a setting's name sets it."""
    rest = " ".join(cell.source for cell in code(book)[2:])
    names, fields = {name for name, *_ in parameters(book)}, set(Settings.model_fields)
    assert names & fields <= {"backbone", "weights", "augmentation"}
    others = names - fields
    others -= {"dataset", "preset", "seed", "overrides"}
    assert [name for name in others if not re.search(rf"\b{name}\b", rest)] == []


def test_chance_is_that_of_the_classes_in_a_partition():
    """Test lacks one of three."""
    book = BOOKS[paths.ROOT / "notebooks" / "1_partition.ipynb"]
    (cell,) = (cell for cell in code(book) if "def uar_by_hand" in cell.source)
    table = pd.DataFrame({"label": [*"abcab"], "partition": [*["train"] * 3, "test", "test"]})
    names = {"np": np, "pd": pd, "metrics": metrics, "table": table, "regression": False}
    names["corpus"] = SimpleNamespace(classes=("a", "b", "c"))
    exec(cell.source, names)
    assert names["chance"] == 50
    assert set(names["guesses"].ravel()) == {0, 1}
    training = BOOKS[paths.ROOT / "notebooks" / "3_training.ipynb"]
    assert not any("card.classes" in cell.source for cell in code(training))


@each
def test_nothing_of_a_run_is_committed(file, book):
    assert {(len(cell.outputs), cell.execution_count) for cell in code(book)} == {(0, None)}
    assert {key for cell in book.cells for key in cell.metadata} <= {"tags"}
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert set(book.metadata["language_info"]) == {"name"}
    assert book.metadata["kernelspec"]["name"] == "python3"
    assert [cell.id for cell in book.cells] == [str(i) for i in range(len(book.cells))]
    nbformat.validate(book)


def a_book(*codes):
    declared = 'word: str = "no"  # a word\nseed: int = 0  # a seed\nshare: float = 0.1  # a share'
    cells = [nbformat.v4.new_code_cell(code) for code in (declared, *codes)]
    book = nbformat.v4.new_notebook(cells=cells)
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "p"}
    return book


@pytest.mark.parametrize(
    ("source", "injected", "reason"),
    [
        ("lerning_rate = 1\n# Parameters\nbatch = 3", "preset", ""),  # a user's other cells
        ("", "augmentatoin", "; did you mean 'augmentation'"),
        ("", "xyz", "; there is: augmentation, backbone, dataset, "),
    ],
)
def test_a_mistyped_parameter_is_answered_with_the_nearest(monkeypatch, source, injected, reason):
    """Papermill itself only warns of it. A kernel with the cell that papermill puts in."""
    book = a_book()
    book.metadata["papermill"] = {}
    cell = parameterize_notebook(book, {"seed": 7, injected: "paper"}).cells[1].source
    shell = Mock(user_ns={"In": ["", source, cell]})
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=Mock())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    if not reason:
        assert notebooks.begin("3_training", {"seed": 7}).seed == 7
        return
    message = refusal(notebooks.begin, "3_training", {})
    assert f"unknown parameter '{injected}'{reason}" in message


@pytest.mark.parametrize(
    ("name", "odd", "taken"),
    [
        ("3_training", {"seed": None, "overrides": None}, {"dataset": "demo", "overrides": ""}),
        ("3_training", {"seed": "1"}, {"seed": 1}),
        ("3_training", {"seed": 2.0, "augmentation": "none"}, {"seed": 2}),
        ("0_start", {"seconds": "2", "preset": None}, {"seconds": 2.0, "preset": ""}),
        ("0_start", {"seconds": "x"}, "parameter seconds = 'x': expected a number from 0"),
        *[
            ("6_explainability", {"seed": odd}, f"parameter seed = {odd!r}: expected a whole numb")
            for odd in (-1, "-1", 1.5, "1.5", True, "", [1], float("nan"), 2**32)
        ],
        *[
            ("1_partition", {"dataset": odd}, f"parameter dataset = {odd!r}: expected a text")
            for odd in (None, True, ["my.csv"], {})
        ],
    ],
)
def test_odd_values_are_taken_or_refused_before_any_work(name, odd, taken):
    if isinstance(taken, str):
        assert refusal(notebooks.begin, name, odd).startswith(taken)
        return
    notebooks.begin(name, odd)  # the cells see what is taken
    assert {key: odd[key] for key in taken} == taken
    assert type(odd["seed"]) is int


def test_begin_outside_a_notebook():
    values = {"seed": 3, "overrides": "units=7", "augmentation": "cutmix", "weights": "random"}
    stage = notebooks.begin("3_training", values)
    assert (stage.settings.units, stage.settings.augmentation) == (7, "cutmix")
    assert (stage.preset, stage.seed) == ("transfer", 3)
    for text in (
        "`units` 512 → **7**",
        "`epoch_choice` last → **best**",
        "| Augmentation | cutmix |",
        "(weights: random)",
    ):
        assert text in stage.summary()
    paper = notebooks.begin("3_training", {"preset": "paper"}).summary()
    assert "| Differs from the paper in | nothing |" in paper
    assert "adadelta, rate 0.001, 40 epochs" in paper
    assert notebooks.begin("1_partition", {}).summary().count("\n") == 0


def test_a_training_is_a_line_an_epoch_by_machine_and_one_bar_in_jupyterlab(monkeypatch, capsys):
    lines = (
        "training on train",
        "phase 1 epoch   1/2  UAR 50.0 %",
        "phase 1 epoch   2/2  UAR 60.0 %",
    )
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    log = notebooks.progress("CutMix")
    for line in lines:
        log(line)
    assert capsys.readouterr().out.splitlines() == [f"[CutMix] {line}" for line in lines]
    monkeypatch.setenv("JPY_SESSION_NAME", "3_training.ipynb")
    log = notebooks.progress("CutMix")
    for line in lines:
        log(line)
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (0, "")
    assert re.search("[#\u2588]+ CutMix: .*UAR 60.0 %", out.split("\r")[-1])


@pytest.fixture
def source(tmp_path):
    nbformat.write(a_book(), tmp_path / "source.ipynb")
    return str(tmp_path / "source.ipynb")


@pytest.fixture
def execution(monkeypatch):
    """Papermill's execution, in its place a copy that ends with ``execution.error``."""

    def execute(source, draft, **_):
        shutil.copy(source, draft)
        if mock.error:
            raise mock.error

    mock = Mock(side_effect=execute, error=None)
    monkeypatch.setattr(papermill, "execute_notebook", mock)
    return mock


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("3_trainig", {}, "'3_trainig'; did you mean '3_training'"),
        ("3_training", {"overrides": "units=4", "sead": 3}, "'sead'; did you mean 'seed'"),
    ],
)
def test_what_cannot_be_run_starts_no_kernel(tmp_path, execution, name, parameters, message):
    assert message in refusal(notebooks.execute, name, tmp_path / "x.ipynb", parameters)
    assert execution.mock_calls == list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parameters", "typed"),
    [
        ({"seed": "3", "share": "0.5"}, {"seed": 3, "share": 0.5}),
        *[(same, same) for same in ({"word": "2021 #1: a.csv"}, {"seed": 4})],
    ],
)
def test_parameters_get_the_declared_type(source, tmp_path, execution, parameters, typed):
    notebooks.execute(source, tmp_path / "a.ipynb", parameters)
    assert execution.call_args.kwargs["parameters"] == typed


LONG = "\n".join(f"x{i} = {i}" for i in range(40))
TRACE = [f"\x1b[31mline {i}\x1b[0m\n" for i in range(60)]
MENDED = papermill.PapermillExecutionError(2, 3, "x = 1", "InputError", "say yes", ["Traceback"])
FAULT = papermill.PapermillExecutionError(2, 3, LONG, "KeyError", "a\nb" * 99, TRACE)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MENDED, InputError, ["a, cell 3: InputError: say yes"]),
        (FAULT, NotebookError, ["a, cell 3: KeyError: a", "    x0 = 0", "    line 59"]),
        (DeadKernelError("Kernel died"), NotebookError, ["the kernel died, most likely for want"]),
    ],
    ids=["input", "fault", "dead"],
)
def test_a_failed_notebook_goes_beside_the_older(source, tmp_path, execution, error, kind, words):
    target = tmp_path / "out" / "a.ipynb"
    target.parent.mkdir()
    target.write_text("the older good one")
    execution.error = error
    with pytest.raises(kind) as caught:
        notebooks.execute(source, target, {})
    message = str(caught.value)
    assert [word for word in (*words, "a.failed.ipynb") if word not in message] == []
    assert len(message.splitlines()) <= 25  # one screen
    assert not re.search("Traceback|\x1b", message)
    assert target.read_text() == "the older good one"
    assert {path.name for path in target.parent.iterdir()} == {"a.failed.ipynb", "a.ipynb"}
    execution.error = None
    notebooks.execute(source, target, {})
    assert [path.name for path in target.parent.iterdir()] == ["a.ipynb"]  # no failed one any more


def outputs(path):
    book = nbformat.read(path, as_version=4)
    return "".join(o.get("text", "") for c in book.cells for o in c.get("outputs", []))


@pytest.mark.notebooks
def test_a_kernel_runs_where_it_was_started_and_up_to_a_failing_cell(tmp_path, monkeypatch):
    (tmp_path / "{dataset} {}").mkdir()  # papermill's places of parameters
    monkeypatch.chdir(tmp_path / "{dataset} {}")
    deep = "def f(n):\n    if n:\n        return f(n - 1)\n    raise KeyError('a\\nb' * 99)\n"
    deep += "if word == 'no': f(60)"
    look = "import os\nprint(word, os.listdir('out'), os.getcwd())"
    source, target = "{source}.ipynb", Path("out/a.ipynb").absolute()
    nbformat.write(a_book(look, deep, "print('after')"), source)
    notebooks.execute(source, target, {"word": "yes"})
    # While it ran, nothing stood in its place.
    assert re.match(rf"yes \['\.a-.*{tmp_path}/.dataset. .*after", outputs(target), re.DOTALL)
    with pytest.raises(NotebookError, match=r"a, cell \d+: KeyError") as caught:
        notebooks.execute(source, target, {})
    assert max(map(len, str(caught.value).splitlines())) < 500
    assert "\x1b" not in str(caught.value)
    failed = outputs(target.with_name("a.failed.ipynb"))
    assert ("no [" in failed, "after" in failed) == (True, False)
    assert "after" in outputs(target)


@pytest.mark.notebooks
def test_a_mistyped_parameter_of_plain_papermill_fails_with_the_nearest_name(tmp_path):
    files = str(paths.ROOT / "notebooks" / "3_training.ipynb"), str(tmp_path / "out.ipynb")
    with pytest.raises(papermill.PapermillExecutionError, match="did you mean 'augmentation'"):
        papermill.execute_notebook(*files, {"augmentatoin": "cutmix"}, progress_bar=False)


def executed(folder, name):
    """A notebook as papermill leaves it, with every kind of output that ours have."""
    make, path = nbformat.v4, folder / f"{name}.ipynb"
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    text = f"# 1 {name[2:6]}\ntext of {name}\n\n## Method\nformula $x^2$, `a$b$`\n\n$$y = \\alpha$$"
    cells = [make.new_markdown_cell(text), make.new_code_cell("print(1 < 2)")]
    cells += [make.new_markdown_cell("## The *outcome*"), make.new_code_cell("secret = 1")]
    cells[1].outputs = [
        make.new_output("display_data", {"text/markdown": "| a |\n| --- |\n| cell *it* |"}),
        make.new_output("stream", name="stdout", text="True & <so on>\n" * 9),
        make.new_output("execute_result", {"text/html": f"<table>{'<tr><td>long' * 20}</table>"}),
    ]
    cells[3].outputs = [
        make.new_output("execute_result", {"text/html": f"<table><td>of {name}</td></table>"}),
        make.new_output("display_data", {"image/png": png, "text/plain": "<Figure>"}),
        make.new_output("display_data", {"text/markdown": "It is **best**."}),
    ]
    cells[3].metadata["tags"] = ["abstract"] if name[0] == "1" else []
    book = make.new_notebook(cells=cells)
    book.metadata["papermill"] = {"parameters": {"augmentation": name.partition("-")[2] or "?"}}
    nbformat.write(book, path)
    return path


def test_the_report_is_one_page_that_needs_nothing_else(tmp_path):
    names = ["1_partition", "3_training-none", "3_training-cutmix+specaugment"]
    files = [executed(tmp_path, name) for name in names]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.csv").touch()
    file = notebooks.write_page("small & <more>", files, tmp_path / "out" / "report.html")
    page = file.read_text("utf-8")
    assert re.findall(r'<section id="([^"]+)"', page) == ["abstract", *names]
    contents = re.findall(r'<li><a href="#([^"]+)">([^<]+)', page)
    assert contents[:4] == [
        *[("abstract", "In short"), ("1_partition", "1 part")],
        *[("1_partition-1", "Method"), ("1_partition-2", "The outcome")],
    ]
    assert contents[-1] == (names[-1], "1 trai (augmentation cutmix+specaugment)")
    assert page.count("data:image/png;base64,") == 4
    texts = ["<title>small &amp; &lt;more&gt;</title>", "cell <em>it</em>", "True &amp; &lt;so on"]
    texts += ["log, 9 lines", "table, 19 rows", '<a href="scores.csv">', "<code>a$b$</code>"]
    texts += ["<msup>", 'display="block"', "<summary><h3>Method</h3>"]
    texts += [f"<b>Figure {n}. The outcome.</b> <p>It is <strong>best" for n in (1, 2, 3)]
    for name in names:  # a picture is described by its heading
        texts += [f"text of {name}", f"of {name}</td>", 'alt="The outcome"']
    assert [text for text in texts if text not in page] == []
    abstract = page.split('id="abstract">')[1].split("</section>")[0]
    words = ("of 1_partition", "secret", "Figure")
    assert [word in abstract for word in words] == [True, False, False]
    # No address outside of the page in anything that a browser would fetch
    addresses = re.findall(r"""\s(?:src|href|poster|action)\s*=\s*["']?([^"'\s>]+)""", page)
    kinds = {address.partition(":")[0] for address in addresses if address[0] != "#"}
    assert kinds == {"data", "scores.csv"}
    assert not re.search(r"<(script|link rel=.style|iframe)\b|@import|url\(\s*['\"]?http", page)
    files[1].unlink()
    message = refusal(notebooks.write_page, "x", files, tmp_path / "r.html")
    assert re.search(r"3_training-.*\.ipynb.*needs", message)
    assert not (tmp_path / "r.html").exists()


HOSTILE = (
    "<img src=x onerror=alert(1)> <script>alert(2)</script> [x](javascript:alert(3)) `` **b** $1$"
)


@pytest.fixture
def hostile_page(tmp_path, user_card):
    """The report of a corpus whose card, labels and headings hold HTML and Markdown."""
    card = user_card(f"title: {json.dumps(HOSTILE)}\nlicence: {json.dumps(HOSTILE)}\n")
    summary = notebooks.begin("1_partition", {"dataset": card.table}).summary()
    cell = nbformat.v4.new_code_cell("1")
    texts = [summary, f"label {HOSTILE}", f"| a |\n| --- |\n| {HOSTILE} |"]  # also unescaped
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/markdown": t}) for t in texts]
    heading = nbformat.v4.new_markdown_cell(f"# 1 {HOSTILE}\n{HOSTILE}\n\n## {HOSTILE}")
    nbformat.write(nbformat.v4.new_notebook(cells=[heading, cell]), tmp_path / "a.ipynb")
    return notebooks.write_page(HOSTILE, [tmp_path / "a.ipynb"], tmp_path / "r.html")


def test_a_card_s_words_are_text_and_the_page_forbids_scripts(hostile_page):
    page = hostile_page.read_text()
    assert not re.search(r"<script|<img src=x|href=.javascript:", page)
    shown = html.unescape(re.sub(r"<[^>]*>", "", page))
    assert shown.count(HOSTILE) >= 2 + 2  # title, and licence and title of the summary
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:" in page


@pytest.mark.browser
def test_a_browser_runs_nothing_of_them_and_has_nothing_to_refuse(hostile_page, tmp_path):
    if not browser.program():
        pytest.skip("no Chromium")
    with browser.started(tmp_path / "profile") as page:
        page.open(hostile_page.as_uri())
        assert page.run("document.title") == HOSTILE
        assert page.run("document.scripts.length + document.querySelectorAll('img').length") == 0
        assert (page.errors, page.requests) == ([], [hostile_page.as_uri()])


def test_a_report_replaces_a_page_and_nothing_else(tmp_path):
    first, second = (executed(tmp_path, f"{n}_partition") for n in (1, 2))
    content = second.read_bytes()
    named, link, page = (tmp_path / name for name in ("book", "page.html", "r.html"))
    named.write_bytes(content)  # a notebook of another name
    link.symlink_to(second)
    for output in (second, link, named, tmp_path, tmp_path / "NEW.IPYNB"):
        refusal(notebooks.write_page, "x", [first, second], output)
    assert second.read_bytes() == named.read_bytes() == content
    assert not (tmp_path / "NEW.IPYNB").exists()
    for _ in range(2):
        text = notebooks.write_page("half a pair: \ud800", [first], page).read_text("utf-8")
        assert text.startswith("<!doctype html>")
        assert "half a pair: \\ud800" in text


@each
def test_every_formula_can_be_drawn_without_a_network(file, book, tmp_path):
    texts = [cell for cell in book.cells if cell.cell_type == "markdown"]
    nbformat.write(nbformat.v4.new_notebook(cells=texts), tmp_path / "texts.ipynb")
    page = notebooks.write_page("x", [tmp_path / "texts.ipynb"], tmp_path / "page.html")
    page = page.read_text("utf-8")
    formulas = [m for cell in texts for m in notebooks.FORMULA.finditer(cell.source) if m.lastgroup]
    assert page.count("<math") == len(formulas)
    assert "\ue000" not in page


def test_the_report_s_abstract_has_scores_and_an_overlay():
    tagged = [
        f.stem for f in BOOKS for c in code(BOOKS[f]) if "abstract" in c.metadata.get("tags", [])
    ]
    assert {"4_ablation", "6_explainability"} <= set(tagged)
