"""One way in for pictures, and no way in for code: read off the source of the whole package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sightweave

ROOT = Path(sightweave.__file__).parent
LOADER = ROOT / "data" / "inputs" / "image_files.py"
OF_ITS_OWN = ROOT / "data" / "inputs" / "turbo.py"
"""Opens pictures that it has just drawn, to compare two decoders."""
MODULES = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"),
    *("requests", "httpx", "aiohttp", "urllib3", "urllib", "urllib.request", "cv2", "imageio"),
}
CALLS = {
    *("Image.open", "PIL.Image.open", "torch.load", "torch.jit.load", "np.load", "numpy.load", "plt.imread"),
    *(
        "eval",
        "exec",
        "compile",
        "os.system",
        "os.popen",
        "yaml.load",
        "yaml.unsafe_load",
        "pandas.read_pickle",
    ),
    *("image.imread", "io.imread", "read_image", "urlopen", "pd.read_pickle"),
}
OF_THE_LOADER = {"Image.open"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def findings(source: str) -> set[str]:
    """Forbidden imports and calls of one file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        else:
            names = set()
            if isinstance(node, ast.Call):
                found |= {dotted(node.func)} & CALLS
                if any(k.arg == "shell" and getattr(k.value, "value", None) is True for k in node.keywords):
                    found.add("shell=True")
                if any(
                    k.arg == "allow_pickle" and getattr(k.value, "value", None) is True for k in node.keywords
                ):
                    found.add("allow_pickle=True")
        found |= {name for name in names if name in MODULES or name.split(".")[0] in MODULES - {"urllib"}}
        found |= names & CALLS
    return found


def test_nobody_else_opens_pictures_or_runs_data() -> None:
    offenders = {}
    for path in ROOT.rglob("*.py"):
        allowed = OF_THE_LOADER if path in (LOADER, OF_ITS_OWN) else set()
        if found := findings(path.read_text(encoding="utf-8")) - allowed:
            offenders[path.relative_to(ROOT).as_posix()] = sorted(found)
    assert not offenders


def test_the_loader_asks_for_its_formats() -> None:
    opened = [
        node
        for node in ast.walk(ast.parse(LOADER.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and dotted(node.func) == "Image.open"
    ]
    assert len(opened) == 1
    assert [keyword.arg for keyword in opened[0].keywords] == ["formats"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from PIL import Image\nImage.open('x')", "Image.open"),
        ("import PIL.Image\nPIL.Image.open('x')", "PIL.Image.open"),
        ("import torch\ntorch.load('x')", "torch.load"),
        ("import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("import urllib.request", "urllib.request"),
        ("from urllib import request", "urllib.request"),
        ("import requests.sessions", "requests.sessions"),
        ("eval('1')", "eval"),
        ("exec('1')", "exec"),
        ("run('x', shell=True)", "shell=True"),
        ("np.load('x')", "np.load"),
    ],
)
def test_the_lint_finds_each(source: str, name: str) -> None:
    assert name in findings(source)


def test_the_lint_lets_ordinary_code_pass() -> None:
    assert (
        findings("model.eval()\nfile.open()\nimport json\nfrom urllib.parse import quote\nre.compile('x')")
        == set()
    )
