"""The notebooks' one shape, their parameters, their execution by machine, and the HTML page."""

import ast
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from nbclient.exceptions import DeadKernelError
from papermill.parameterize import parameterize_notebook

from dslite import notebooks, paths
from dslite.errors import InputError, NotebookError
from tests.refusals import refusal

COMMITTED = sorted((paths.ROOT / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.stem)
PARAMETER = re.compile(r"^(\w+): (str|int|float|bool) = (.+?)  # (.+)$")


def cells(file, kind=""):
    """Cells of a notebook, of one type if it is given."""
    content = json.loads(file.read_text("utf-8"))["cells"]
    return [cell for cell in content if kind in ("", cell["cell_type"])]


def source(cell):
    return "".join(cell["source"])


def parameter_lines(file):
    return source(cells(file)[1]).splitlines()


def parameters(file):
    """Names in the parameters cell, in order."""
    return [PARAMETER.match(line)[1] for line in parameter_lines(file)]


def test_there_are_seven_numbered_in_their_order():
    assert [file.stem for file in COMMITTED] == list(notebooks.ORDER)
    assert [file.stem[:2] for file in COMMITTED] == [f"{n}_" for n in range(1, 8)]
    lines = {line for file in COMMITTED for line in parameter_lines(file)}
    names = [PARAMETER.match(line)[1] for line in lines]
    assert sorted(names) == sorted(set(names))  # shared parameters have the same help


@each
def test_a_title_then_the_parameters_and_at_the_end_the_results(file):
    title, first, *_, heading, last = cells(file)
    assert title["cell_type"] == "markdown"
    assert re.match(rf"# {file.stem[0]} \w", source(title))
    assert re.search(r"^Makes [^`]+`results/|^Makes `", source(title), re.MULTILINE)
    assert sum(source(cell).startswith("# ") for cell in cells(file, "markdown")) == 1
    assert [c for c in cells(file) if "parameters" in c["metadata"].get("tags", [])] == [first]
    assert first == cells(file, "code")[0]
    assert source(heading).startswith("## Results")
    assert last == cells(file, "code")[-1]
    assert "written to" in source(last)
    rest = "".join(map(source, cells(file, "code")[:-1]))
    assert not re.search(r"plots\.save|to_csv|write_json", rest)


@each
def test_parameters_are_plain_assignments_that_papermill_reads_with_their_help(file, capsys):
    for line in parameter_lines(file):
        parts = PARAMETER.match(line)
        assert parts, f"not 'name: type = value  # help': {line}"
        name, kind, value, text = parts.groups()
        assert "=" not in text, "papermill reads no help text with an ="
        assert type(ast.literal_eval(value)).__name__ == kind, name
    inspected = papermill.inspect_notebook(str(file))
    assert list(inspected) == parameters(file)
    assert all(x["help"] and x["inferred_type_name"] != "None" for x in inspected.values())


@each
def test_the_first_call_checks_exactly_the_parameters(file):
    first = source(cells(file, "code")[1])
    tree = ast.parse("\n".join(line for line in first.splitlines() if line[:1] != "%"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (call,) = (node for node in calls if ast.unparse(node.func) == "notebooks.begin")
    positional = [node.id for node in call.args]
    assert positional == ["dataset", "preset", "seed", "overrides"][: len(positional)]
    passed = list(positional)
    for keyword in call.keywords:
        if keyword.arg == "others":
            others = ast.literal_eval(keyword.value)
            rest = " ".join(map(source, cells(file, "code")[2:]))
            assert [name for name in others if not re.search(rf"\b{name}\b", rest)] == []
            passed += others
        else:
            assert keyword.arg == keyword.value.id
            passed.append(keyword.arg)
    assert sorted(passed) == sorted(parameters(file))
    assert "import tensorflow\n" not in first
    assert "%matplotlib inline" in first  # no pyplot knows our figures


@each
def test_nothing_of_a_run_is_committed(file):
    for cell in cells(file):
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
        assert set(cell["metadata"]) <= {"tags"}
    metadata = json.loads(file.read_text("utf-8"))["metadata"]
    assert set(metadata) == {"kernelspec", "language_info"}
    assert set(metadata["language_info"]) == {"name"}
    assert metadata["kernelspec"]["name"] == "python3"
    assert [cell["id"] for cell in cells(file)] == [str(i) for i in range(len(cells(file)))]
    nbformat.validate(nbformat.read(file, as_version=4))


def a_book(*codes):
    """A notebook of code cells, the first of which holds the parameters."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in codes])
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "p"}
    return book


@pytest.fixture
def kernel(monkeypatch):
    """Let this process look like a kernel: a cell of this source, one that papermill puts in."""

    def ran(source, **parameters):
        book = a_book("seed: int = 0  # a seed")
        book.metadata["papermill"] = {}
        injected = parameterize_notebook(book, parameters).cells[1].source
        shell = SimpleNamespace(user_ns={"In": ["", source, injected]})
        ipython = SimpleNamespace(get_ipython=lambda: shell)
        monkeypatch.setitem(sys.modules, "IPython", ipython)

    return ran


def test_a_mistyped_parameter_is_answered_with_the_nearest(kernel):
    """Papermill itself only warns of it. What a user assigns in other cells is not checked."""
    kernel("lerning_rate = 1\n# Parameters\nbatch = 3", seed=7, preset="paper")
    assert notebooks.begin("demo", augmentation="none").seed == 0
    kernel("x = 1", seed=7, augmentatoin=8)
    message = refusal(notebooks.begin, "demo", augmentation="none")
    assert "'augmentatoin'; did you mean 'augmentation'" in message
    kernel("x = 1", seed=7, xyz=8)
    message = refusal(notebooks.begin, "demo", augmentation="none")
    assert "there is: augmentation, dataset, overrides, preset, seed" in message


def test_begin_outside_a_notebook():
    stage = notebooks.begin("demo", seed=3, overrides="units=7", augmentation="cutmix", backbone="")
    assert (stage.settings.units, stage.settings.augmentation) == (7, "cutmix")
    assert (stage.preset, stage.seed) == ("tuned", 3)
    summary = stage.summary()
    assert "`units` 64 → **7**" in summary
    assert "cutmix" in summary
    assert "random weights" not in summary.lower()
    assert "Random weights" in notebooks.begin("demo", weights="random").summary()
    assert "ravdes" in refusal(notebooks.begin, "ravdes")


def a_notebook(folder, *codes):
    """A notebook with three parameters and some code cells."""
    declared = 'word: str = "no"  # a word\nseed: int = 0  # a seed\nshare: float = 0.1  # a share'
    nbformat.write(a_book(declared, *codes), folder / "source.ipynb")
    return str(folder / "source.ipynb")


@pytest.fixture
def papermill_does(monkeypatch):
    """Put a function in the place of papermill's execution; gives what it was called with."""
    calls = []

    def replace(error=None):
        def execute(source, draft, **options):
            calls.append(options)
            nbformat.write(nbformat.read(source, as_version=4), draft)
            if error:
                raise error

        monkeypatch.setattr(papermill, "execute_notebook", execute)
        return calls

    return replace


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("3_trainig", {}, "'3_trainig'; did you mean '3_training'"),
        ("3_training", {"overrides": "units=4", "sead": 3}, "'sead'; did you mean 'seed'"),
        ("3_training", {"seed": "x"}, "parameter seed = 'x': expected int"),
    ],
)
def test_what_cannot_be_run_starts_no_kernel(tmp_path, papermill_does, name, parameters, message):
    calls = papermill_does()
    assert message in refusal(notebooks.execute, name, tmp_path / "x.ipynb", parameters)
    assert calls == list(tmp_path.iterdir()) == []


def test_parameters_get_the_declared_type(tmp_path, papermill_does):
    calls = papermill_does()
    typed = {"seed": "3", "share": "0.5", "word": "2021 #1: a.csv"}, {"seed": 4}
    for parameters in typed:
        notebooks.execute(a_notebook(tmp_path), tmp_path / "a.ipynb", parameters)
    assert [x["parameters"] for x in calls] == [typed[0] | {"seed": 3, "share": 0.5}, typed[1]]


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
def test_a_failed_notebook_goes_beside_the_older_output(
    tmp_path, papermill_does, error, kind, words
):
    source, target = a_notebook(tmp_path), tmp_path / "out" / "a.ipynb"
    target.parent.mkdir()
    target.write_text("the older good one")
    papermill_does(error)
    with pytest.raises(kind) as caught:
        notebooks.execute(source, target, {})
    message = str(caught.value)
    assert [word for word in (*words, "a.failed.ipynb") if word not in message] == []
    assert len(message.splitlines()) <= 25  # one screen
    assert not re.search("Traceback|\x1b", message)
    assert target.read_text() == "the older good one"
    assert {path.name for path in target.parent.iterdir()} == {"a.failed.ipynb", "a.ipynb"}
    papermill_does()  # the failed notebook of before goes away
    notebooks.execute(source, target, {})
    assert [path.name for path in target.parent.iterdir()] == ["a.ipynb"]
    assert nbformat.read(target, as_version=4).cells


def outputs(path):
    book = nbformat.read(path, as_version=4)
    return "".join(o.get("text", "") for c in book.cells for o in c.get("outputs", []))


@pytest.mark.notebooks
def test_a_kernel_runs_where_it_was_started_and_up_to_a_failing_cell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep = "def f(n):\n    if n:\n        return f(n - 1)\n    raise KeyError('a\\nb' * 99)\n"
    deep += "if word == 'no': f(60)"
    look = "import os\nprint(word, os.listdir('out'), os.getcwd())"
    source, target = a_notebook(tmp_path, look, deep, "print('after')"), Path("out/a.ipynb")
    notebooks.execute(source, target, {"word": "yes"})
    assert outputs(target).startswith("yes ['.a-")  # while it ran, nothing stood in its place
    assert str(tmp_path) in outputs(target)
    assert "after" in outputs(target)
    with pytest.raises(NotebookError, match=r"a, cell \d+: KeyError") as caught:
        notebooks.execute(source, target, {})
    assert max(map(len, str(caught.value).splitlines())) < 500
    assert "\x1b" not in str(caught.value)
    assert "no [" in outputs(target.with_name("a.failed.ipynb"))
    assert "after" not in outputs(target.with_name("a.failed.ipynb"))
    assert "after" in outputs(target)


@pytest.mark.notebooks
def test_a_mistyped_parameter_of_plain_papermill_fails_with_the_nearest_name(tmp_path):
    source, target = paths.ROOT / "notebooks" / "3_training.ipynb", tmp_path / "out.ipynb"
    options = {"progress_bar": False, "cwd": str(tmp_path)}
    mistyped = {"dataset": "demo", "augmentatoin": "cutmix"}
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(str(source), str(target), mistyped, **options)
    assert caught.value.ename == "InputError"
    assert "'augmentatoin'; did you mean 'augmentation'?" in caught.value.evalue


def executed(folder, name):
    """A notebook as papermill leaves it, with every kind of output that ours have."""
    make = nbformat.v4
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    cell = make.new_code_cell("print(1 < 2)")
    cell.outputs = [
        make.new_output("display_data", {"image/png": png, "text/plain": "<Figure>"}),
        make.new_output("execute_result", {"text/html": f"<table><td>of {name}</td></table>"}),
        make.new_output("display_data", {"text/markdown": "| a |\n| --- |\n| cell *it* |"}),
        make.new_output("stream", name="stdout", text="True & <so on>\n"),
    ]
    cells = [make.new_markdown_cell(f"# {name}\ntext of {name} with $x^2$"), cell]
    path = folder / f"{name}.ipynb"
    nbformat.write(make.new_notebook(cells=cells), path)
    return path


def test_the_report_is_one_page_that_needs_nothing_else(tmp_path):
    names = ["1_partition", "3_training-cutmix+specaugment", "7_paper"]
    files = [executed(tmp_path, name) for name in names]
    file = notebooks.write_page("small & <more>", files, tmp_path / "out" / "report.html")
    page = file.read_text("utf-8")
    assert [path.name for path in file.parent.iterdir()] == ["report.html"]
    assert re.findall(r'<section id="([^"]+)"', page) == names
    assert re.findall(r'<li><a href="#([^"]+)"', page) == names
    for name in names:  # a picture is described by its heading
        for text in (f"text of {name}", f"of {name}</td>", f'alt="{name}"'):
            assert text in page
    assert page.count("data:image/png;base64,") == 3
    titled = "<title>small &amp; &lt;more&gt;</title>"
    for text in (titled, "cell <em>it</em>", "True &amp; &lt;so on&gt;"):
        assert text in page
    # No address outside of the page in anything that a browser would fetch
    addresses = re.findall(r"""\s(?:src|href|poster|action)\s*=\s*["']?([^"'\s>]+)""", page)
    assert addresses
    assert [address for address in addresses if not address.startswith(("data:", "#"))] == []
    assert not re.search(r"<(script|link|iframe)\b|@import|url\(\s*['\"]?http", page)
    files[1].unlink()
    message = refusal(notebooks.write_page, "x", files, tmp_path / "r.html")
    assert re.search(r"3_training-.*\.ipynb.*needs", message)
    assert not (tmp_path / "r.html").exists()
