"""No code of advcam runs what a file says: the syntax trees of all sources are searched."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src/advcam").rglob("*.py"))

#: Calls that run code or commands, or build objects of a file's choice; by the last parts of their names.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "os.startfile", "pty.spawn", "commands.getoutput", "subprocess.getoutput"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "pickle.dump", "pickle.dumps", "shelve.open"),
    *("marshal.load", "marshal.loads", "joblib.load", "dill.load", "dill.loads", "cloudpickle.load"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all"),
    *("ET.fromstring", "ET.parse", "ET.XML", "ET.iterparse", "minidom.parse", "minidom.parseString", "sax.parse"),
    *("etree.fromstring", "etree.parse", "pandas.read_pickle", "pd.read_pickle", "hub.load"),
    *("tarfile.open", "zipfile.ZipFile", "shutil.unpack_archive", "tempfile.mktemp"),
}
MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "cloudpickle", "joblib", "jsonpickle", "lxml", "xmlrpc"}


def findings(source: str) -> Iterator[str]:
    """What a source may not do, with the line."""
    for node in ast.walk(ast.parse(source)):
        for words in _of_node(node):
            yield f"line {getattr(node, 'lineno', 0)}: {words}"


def _of_node(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import {one.name}" for one in node.names if one.name.split(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
        yield f"from {node.module} import .."
    elif isinstance(node, ast.Call):
        yield from _of_call(node)


def _of_call(call: ast.Call) -> Iterator[str]:
    name = _name(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in FORBIDDEN or name.startswith(("subprocess.", "os.exec", "os.spawn")):
        yield f"{name}()"
    if given.get("shell", "False") != "False":
        yield f"{name}(shell={given['shell']})"
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
        yield "np.load without allow_pickle=False"
    if name == "yaml.load" and given.get("Loader") not in ("yaml.SafeLoader", "_Loader"):
        yield "yaml.load without a SafeLoader"
    if name == "yaml.parse" and given.get("Loader") != "yaml.SafeLoader":
        yield "yaml.parse without a SafeLoader"
    if name == "ET.XMLParser" and "target" not in given:
        yield "an XML parser that takes declarations of entities"


def _name(function: ast.expr) -> str:
    """The last two parts of what is called: "ET.parse" of xml.etree.ET.parse; "eval" of eval."""
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute):
        before = function.value
        owner = before.id if isinstance(before, ast.Name) else before.attr if isinstance(before, ast.Attribute) else ""
        return f"{owner}.{function.attr}"
    return ""


#: The error type that torch.load raises for pickles with code, an archive whose sizes are summed, one of which a single
#: file is read piece by piece up to a limit, one that is written, and what the processes of one run send each other in
#: memory; none of them unpacks to disk or builds objects of a file of others.
ALLOWED = {
    "classifiers/weights.py": ["import pickle", "zipfile.ZipFile()"],
    "export/cvat_xml.py": ["zipfile.ZipFile()"],
    "scale/actors.py": ["import pickle", "pickle.loads()"],
    "studio/handing_over.py": ["zipfile.ZipFile()"],
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src/advcam").as_posix())
def test_no_source_runs_what_a_file_says(path: Path):
    name = path.relative_to(ROOT / "src/advcam").as_posix()
    found = [words.partition(": ")[2] for words in findings(path.read_text(encoding="utf-8"))]
    assert found == ALLOWED.get(name, [])


@pytest.mark.parametrize(
    "line",
    [
        *("eval('1')", "exec(text)", "os.system('ls')", "subprocess.run(['ls'])", "f(shell=True)"),
        *("torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p)", "np.load(p, allow_pickle=True)"),
        *("yaml.load(t)", "yaml.load(t, Loader=yaml.Loader)", "yaml.full_load(t)", "yaml.parse(t)", "import pickle"),
        *("pickle.loads(b'')", "from dill import load", "import xmlrpc.client", "xml.etree.ET.parse(p)"),
        *("ET.fromstring(t)", "ET.XMLParser()"),
        *("torch.hub.load('x')", "os.execv('x', [])", "tarfile.open(p)", "__import__(name)"),
    ],
)
def test_each_of_them_would_be_found(line: str):
    assert len(list(findings(line))) == 1


@pytest.mark.parametrize(
    "line", ["torch.load(p, weights_only=True)", "np.load(p, allow_pickle=False)", "model.eval()", "re.compile('a')"]
)
def test_harmless_calls_are_not(line: str):
    assert not list(findings(line))


def test_the_loader_of_recipes_is_a_safe_one():
    import yaml

    from advcam.pipeline.recipe import _Loader

    assert issubclass(_Loader, yaml.SafeLoader)
    assert _Loader.yaml_constructors == yaml.SafeLoader.yaml_constructors


#: What makes markup or code of a text, in scripts and in templates.
SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|document\.write|srcdoc|javascript:"
    r"|\beval\(|new Function|\|\s*safe\b|autoescape|Markup\("
)
PAGES = [path for path in sorted((ROOT / "src/advcam").rglob("*")) if path.suffix in (".js", ".html", ".j2")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_page_makes_markup_of_names(path: Path):
    assert SINKS.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("line", ["a.innerHTML = name", "{{ name | safe }}", "{{ name|safe }}", "eval(text)"])
def test_each_sink_would_be_found(line: str):
    assert SINKS.search(line)


@pytest.mark.parametrize("folder", ["src", "fuzz"])
def test_each_exception_from_the_security_rules_gives_its_reason(folder: str):
    excused, reason = r"# noqa: (?:[A-Z]+\d+, )*S\d+", r"# noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*, [a-z]"
    silent = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(excused, line) and not re.search(reason, line)
    ]
    assert silent == []


def test_no_exception_is_for_all_rules():
    assert [p for p in SOURCES if re.search(r"#\s*noqa\s*(?!:)", p.read_text(encoding="utf-8"))] == []
