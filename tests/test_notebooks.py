"""The notebooks' one shape, their execution by machine, and the report."""

import ast
import json
import re

import nbformat
import papermill
import pytest

from dslite import notebooks, paths
from dslite.errors import InputError, NotebookError

COMMITTED = sorted(paths.notebooks().glob("*.ipynb"))
each = pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.stem)
PARAMETER = re.compile(r"^(\w+): (str|int|float|bool) = (.+?)  # (.+)$")


def cells(file):
    return json.loads(file.read_text("utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def parsed(cell):
    """Syntax tree of a code cell without its magics."""
    lines = source(cell).splitlines()
    return ast.parse("\n".join(line for line in lines if not line.lstrip().startswith("%")))


def parameters(file):
    """Names in the parameters cell, in order."""
    return [PARAMETER.match(line)[1] for line in source(cells(file)[1]).splitlines()]


# The shape


def test_there_are_seven_numbered_in_their_order():
    assert [file.stem for file in COMMITTED] == list(notebooks.ORDER)
    assert [file.stem[:2] for file in COMMITTED] == [f"{n}_" for n in range(1, 8)]


@each
def test_the_title_comes_first_and_says_what_is_made(file):
    first = cells(file)[0]
    assert first["cell_type"] == "markdown"
    assert re.match(rf"# {file.stem[0]} \w", source(first))
    assert re.search(r"^Makes [^`]+`results/|^Makes `", source(first), re.MULTILINE)
    titles = [
        line for cell in cells(file) for line in source(cell).splitlines() if line[:2] == "# "
    ]
    headings = [c for c in cells(file) if c["cell_type"] == "markdown" and source(c)[:2] == "# "]
    assert len(headings) == 1, titles


@each
def test_one_parameters_cell_before_all_other_code(file):
    tagged = [i for i, c in enumerate(cells(file)) if "parameters" in c["metadata"].get("tags", [])]
    code = [i for i, cell in enumerate(cells(file)) if cell["cell_type"] == "code"]
    assert tagged == [1] == code[:1]


@each
def test_parameters_are_one_plain_assignment_a_line(file):
    for line in source(cells(file)[1]).splitlines():
        found = PARAMETER.match(line)
        assert found, f"not 'name: type = value  # help': {line}"
        name, kind, value, said = found.groups()
        assert "=" not in said, "papermill reads no help text with an ="
        assert type(ast.literal_eval(value)).__name__ == kind, (
            f"{name} is derived or of another type"
        )


@each
def test_papermill_reads_every_parameter_with_its_help(file, capsys):
    found = papermill.inspect_notebook(str(file))
    assert list(found) == parameters(file)
    assert all(said["help"] for said in found.values())
    assert all(said["inferred_type_name"] != "None" for said in found.values())


@each
def test_the_first_call_checks_exactly_the_parameters(file):
    code = [cell for cell in cells(file) if cell["cell_type"] == "code"]
    calls = [
        node
        for node in ast.walk(parsed(code[1]))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "notebooks.begin"
    ]
    assert len(calls) == 1, "the first code after the parameters calls notebooks.begin"
    passed = [node.id for node in calls[0].args]
    for keyword in calls[0].keywords:
        if keyword.arg == "known":
            passed += ast.literal_eval(keyword.value)
        else:
            assert keyword.arg == keyword.value.id
            passed.append(keyword.arg)
    assert sorted(passed) == sorted(parameters(file))
    assert len(passed) == len(set(passed))
    # By position: dataset, preset, seed, overrides
    assert [node.id for node in calls[0].args] == ["dataset", "preset", "seed", "overrides"][
        : len(calls[0].args)
    ]
    for node in ast.walk(parsed(code[1])):
        assert not (
            isinstance(node, ast.Import | ast.ImportFrom) and "tensorflow" in ast.unparse(node)
        )


@each
def test_parameters_that_are_known_are_used(file):
    """One that only `begin` is told of would do nothing."""
    rest = " ".join(source(cell) for cell in cells(file)[4:] if cell["cell_type"] == "code")
    for name in {"threads", "evaluations", "masker", "summary_files", "pictures"} & set(
        parameters(file)
    ):
        assert re.search(rf"\b{name}\b", rest)


@each
def test_the_last_cell_records_the_results(file):
    last, before = cells(file)[-1], cells(file)[-2]
    assert last["cell_type"] == "code"
    assert source(before).startswith("## Results")
    assert "written to" in source(last)
    code = [source(c) for c in cells(file) if c["cell_type"] == "code"]
    assert not [text for text in code[:-1] if re.search(r"plots\.save|to_csv|write_json", text)]


@each
def test_nothing_of_a_run_is_committed(file):
    for cell in cells(file):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert set(cell["metadata"]) <= {"tags"}
    content = json.loads(file.read_text("utf-8"))
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    assert set(content["metadata"]["language_info"]) == {"name"}
    assert content["metadata"]["kernelspec"]["name"] == "python3"


@each
def test_ids_count_up(file):
    assert [cell["id"] for cell in cells(file)] == [str(i) for i in range(len(cells(file)))]
    nbformat.validate(nbformat.read(file, as_version=4))


@each
def test_figures_are_shown(file):
    """Figures that no pyplot knows are only drawn once the kernel was told to."""
    code = [source(cell) for cell in cells(file) if cell["cell_type"] == "code"]
    rooms = ("plots.", "pictures.", "charts.", "exhibits.", "paper_gallery.")
    drawn = any(room in part for part in code for room in rooms)
    assert ("%matplotlib inline" in code[1]) == drawn


def test_shared_parameters_are_told_alike():
    told = {}
    for file in COMMITTED:
        for line in source(cells(file)[1]).splitlines():
            told.setdefault(PARAMETER.match(line)[1], set()).add(line)
    assert {name: len(lines) for name, lines in told.items()} == dict.fromkeys(told, 1)


# Parameters


def test_a_mistyped_parameter_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="'augmentatoin'; did you mean 'augmentation'"):
        notebooks.require_known(["seed", "augmentation"], ["seed", "augmentatoin"])
    with pytest.raises(InputError, match="there is: preset, seed"):
        notebooks.require_known(["seed", "preset"], ["wholly_different"])
    notebooks.require_known(["seed", "preset"], ["preset"])


def test_only_the_injected_cell_is_checked():
    own = "lerning_rate = 1\n# Parameters\nbatch = 3"
    notebooks.check_injected(["seed"], ["", own, "# Parameters\nseed = 3\n", "x = 1"])
    with pytest.raises(InputError, match="'sead'; did you mean 'seed'"):
        notebooks.check_injected(["seed"], ["x = 1", "# Parameters\nseed = 1\nsead = 3\n"])


def test_papermill_still_marks_its_cell_as_we_look_for_it():
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("seed: int = 0  # a seed")])
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata |= {"kernelspec": {"name": "python3", "language": "python"}, "papermill": {}}
    from papermill.parameterize import parameterize_notebook

    filled = parameterize_notebook(book, {"seed": 7, "sead": 8})
    injected = [
        c.source for c in filled.cells if "injected-parameters" in c.metadata.get("tags", [])
    ]
    with pytest.raises(InputError, match="'sead'"):
        notebooks.check_injected(["seed"], injected)


def test_parameters_from_the_command_line():
    given = ["seed=3", "dataset=a=b.csv", "overrides=units=4 tail=drop", "preset=", "share=0.5"]
    assert notebooks.parse_parameters(given) == {
        "seed": "3",
        "dataset": "a=b.csv",
        "overrides": "units=4 tail=drop",
        "preset": "",
        "share": "0.5",
    }
    with pytest.raises(InputError, match="'seed': expected name=value"):
        notebooks.parse_parameters(["seed"])


def test_parameters_get_the_declared_type():
    kinds = {"seed": "int", "share": "float", "dataset": "str"}
    declared = {name: {"inferred_type_name": kind} for name, kind in kinds.items()}
    given = {"seed": "3", "share": "0.5", "dataset": "2021 #1: a.csv"}
    typed = notebooks.typed(given, declared)
    assert typed == {"seed": 3, "share": 0.5, "dataset": "2021 #1: a.csv"}
    assert notebooks.typed({"seed": 4}, declared) == {"seed": 4}
    with pytest.raises(InputError, match="parameter seed = 'x': expected int"):
        notebooks.typed({"seed": "x"}, declared)
    with pytest.raises(InputError, match="unknown parameter 'sead'; did you mean 'seed'"):
        notebooks.typed({"sead": "1"}, declared)


def test_begin_outside_a_notebook():
    stage = notebooks.begin("demo", seed=3, overrides="units=7", augmentation="cutmix", backbone="")
    assert stage.settings.units == 7
    assert stage.settings.augmentation == "cutmix"
    assert stage.preset == "tuned"
    assert stage.seed == 3
    said = stage.summary()
    assert "`units` 64 → **7**" in said
    assert "cutmix" in said
    assert "random weights" not in said.lower()
    assert "Random weights" in notebooks.begin("demo", weights="random").summary()
    with pytest.raises(InputError, match="ravdes"):
        notebooks.begin("ravdes")


# Execution


def a_notebook(folder, *codes, name="made"):
    """A notebook with a parameter ``word`` and some code cells."""
    book = nbformat.v4.new_notebook()
    book.cells = [
        nbformat.v4.new_code_cell(code) for code in ('word: str = "no"  # a word', *codes)
    ]
    book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "p"}
    path = folder / f"{name}.ipynb"
    nbformat.write(book, path)
    return path


def outputs(path):
    book = nbformat.read(path, as_version=4)
    return "".join(o.get("text", "") for c in book.cells for o in c.get("outputs", []))


def test_an_unknown_notebook(tmp_path):
    with pytest.raises(InputError, match="'3_trainig'; did you mean '3_training'"):
        notebooks.execute("3_trainig", tmp_path / "x.ipynb", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["3_training", "2_spectrograms"])
def test_an_unknown_parameter_starts_no_kernel(tmp_path, name, monkeypatch):
    monkeypatch.setattr(papermill, "execute_notebook", None)
    with pytest.raises(InputError, match="'sead'; did you mean 'seed'"):
        notebooks.execute(name, tmp_path / "x.ipynb", {"overrides": "units=4", "sead": 3})
    assert list(tmp_path.iterdir()) == []


def test_what_ran_is_renamed_into_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "import os\nprint(word, os.listdir('out'), os.getcwd())"
    file = a_notebook(tmp_path, code)
    made = notebooks.execute(str(file), tmp_path / "out" / "made.ipynb", {"word": "yes"})
    said = outputs(made)
    assert said.startswith("yes")
    assert str(tmp_path) in said  # it runs where it was started
    assert "'made.ipynb'" not in said  # while it ran, nothing stood in its place
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["made.ipynb"]


def test_a_failing_cell_leaves_a_failed_notebook_and_the_older_output(tmp_path):
    long = "\n".join(f"x{i} = {i}" for i in range(40)) + "\nprint('came here')\n"
    deep = "def f(n):\n    if not n:\n        raise KeyError('a\\nb' * 99)\n    f(n - 1)\n"
    file = a_notebook(tmp_path, "print('before')", long + deep + "f(60)", "print('after')")
    target = tmp_path / "out" / "made.ipynb"
    target.parent.mkdir()
    target.write_text("the older good one")
    with pytest.raises(NotebookError) as caught:
        notebooks.execute(str(file), target, {})
    said = str(caught.value)
    assert len(said.splitlines()) <= 25
    assert max(map(len, said.splitlines())) < 500
    assert re.match(r"made, cell \d+: KeyError", said)
    assert "x0 = 0" in said
    assert "\x1b" not in said
    assert "made.failed.ipynb" in said
    assert target.read_text() == "the older good one"
    names = sorted(path.name for path in target.parent.iterdir())
    assert names == ["made.failed.ipynb", "made.ipynb"]
    kept = outputs(target.parent / "made.failed.ipynb")
    assert "before" in kept
    assert "came here" in kept
    assert "after" not in kept


def test_what_a_user_can_mend_stays_an_input_error_and_then_succeeds(tmp_path):
    """The failed notebook of before goes away."""
    code = "from dslite.errors import InputError\nif word == 'no': raise InputError('say yes')"
    file, target = a_notebook(tmp_path, code), tmp_path / "out.ipynb"
    with pytest.raises(InputError, match="InputError: say yes") as caught:
        notebooks.execute(str(file), target, {})
    assert "Traceback" not in str(caught.value)
    assert "if word" not in str(caught.value)
    assert not target.exists()
    assert (tmp_path / "out.failed.ipynb").is_file()
    notebooks.execute(str(file), target, {"word": "yes"})
    assert target.is_file()
    assert not (tmp_path / "out.failed.ipynb").exists()


def test_a_mistyped_parameter_of_plain_papermill_fails_with_the_nearest_name(tmp_path):
    """Papermill itself only warns of it."""
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(
            str(paths.notebooks() / "3_training.ipynb"),
            str(tmp_path / "out.ipynb"),
            parameters={"dataset": "demo", "augmentatoin": "cutmix"},
            progress_bar=False,
            cwd=str(tmp_path),
        )
    assert caught.value.ename == "InputError"
    assert "'augmentatoin'; did you mean 'augmentation'?" in caught.value.evalue


# The report


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
    made = notebooks.build("small & <more>", files, tmp_path / "out" / "report.html")
    page = made.read_text("utf-8")
    assert [path.name for path in made.parent.iterdir()] == ["report.html"]
    anchors = re.findall(r'<section id="([^"]+)"', page)
    assert anchors == names
    assert re.findall(r'<li><a href="#([^"]+)"', page) == names
    for name in names:
        assert f"text of {name}" in page
        assert f"of {name}</td>" in page
    assert "<title>small &amp; &lt;more&gt;</title>" in page
    assert page.count("data:image/png;base64,") == 3
    assert "cell <em>it</em>" in page
    assert "True &amp; &lt;so on&gt;" in page
    needs_nothing_else(page)


def needs_nothing_else(page):
    """No address outside of the page in anything that a browser would fetch."""
    addresses = re.findall(r"""\s(?:src|href|poster|action)\s*=\s*["']?([^"'\s>]+)""", page)
    assert addresses
    assert [address for address in addresses if not address.startswith(("data:", "#"))] == []
    assert "@import" not in page
    assert not re.search(r"<(script|link|iframe)\b", page)
    assert not re.search(r"url\(\s*['\"]?http", page)


def test_a_missing_notebook_stops_the_report(tmp_path):
    there = executed(tmp_path, "1_partition")
    with pytest.raises(InputError, match=r"2_spectrograms\.ipynb.*needs"):
        notebooks.build("x", [there, tmp_path / "2_spectrograms.ipynb"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
