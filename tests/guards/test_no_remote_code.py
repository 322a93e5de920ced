"""Nothing here can be made to run code that came over a wire or out of a file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted(
    path
    for package in ("engine", "db", "backend", "dashboard")
    for path in (ROOT / package).rglob("*.py")
)
# Modules that turn bytes into objects or code of any kind; YAML has a safe half, and is not needed.
NEVER = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__"}
# These take a switch that makes them safe, or are dangerous whatever they are told.
SAFE_WITH = {("torch", "load"): "weights_only", ("np", "load"): None, ("numpy", "load"): None}
# This one evaluates arithmetic that the same file has drawn, without builtins.
KNOWN = {"engine/tasks/code.py": ["eval"]}
SHELL = {("os", "system"), ("os", "popen"), ("subprocess", "getoutput")}


def name_of(call: ast.Call) -> tuple[str, str]:
    """Module and name of what is called, as it is written; ("", name) for a bare name."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return module, name
        case ast.Name(id=name):
            return "", name
    return "", ""


def findings(tree: ast.AST) -> list[str]:
    """What a source does that could run foreign code."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [n.name for n in names if n.name.split(".")[0] in NEVER]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in NEVER:
                found.append(module)
            case ast.Call():
                found += _of_call(node)
    return found


def _of_call(call: ast.Call) -> list[str]:
    module, name = name_of(call)
    words = {word.arg: word.value for word in call.keywords}
    found = [name] if module == "" and name in CALLS else []
    found += [f"{module}.{name}"] if (module, name) in SHELL else []
    if (module, name) in SAFE_WITH and not is_true(words.get(SAFE_WITH[module, name] or "")):
        allows = is_true(words.get("allow_pickle"))
        found += [f"{module}.{name}"] if module == "torch" or allows else []
    for switch in ("trust_remote_code", "shell", "allow_pickle"):
        found += [switch] if is_true(words.get(switch)) else []
    return found


def is_true(value: ast.expr | None) -> bool:
    """Whether an argument is the literal True."""
    return isinstance(value, ast.Constant) and value.value is True


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_unpickles_evaluates_or_trusts_remote_code(path: Path) -> None:
    found = findings(ast.parse(path.read_text(encoding="utf-8")))
    assert found == KNOWN.get(str(path.relative_to(ROOT)), [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml.loader",
        "eval('1')",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "load(f, trust_remote_code=True)",
        "subprocess.run(x, shell=True)",
        "os.system('x')",
    ],
)
def test_the_guard_sees_what_it_guards_against(source: str) -> None:
    assert findings(ast.parse(source))
    assert not findings(ast.parse("torch.load(f, weights_only=True); np.load(f); re.compile(x)"))
