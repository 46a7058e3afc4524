"""What belongs to a plugin beside its one file: what it imports from its folder, and the data that it names."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from plugin_folders import plugin_folder, scaled

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugin_files import read_copies
from icl_curriculum.core.plugins import copies_of, load_files, load_plugin
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import Gaussian
from icl_curriculum.tasks import Task

pytestmark = pytest.mark.usefixtures("fresh_registries")

#: How a plugin may come by its factor from another file of its folder, and what lies there.
WAYS: dict[str, tuple[str, dict[str, str | float]]] = {
    "a module": (scaled(imports="from helpers import FACTOR"), {"helpers.py": "FACTOR = 3.0\n"}),
    "when it is used": (scaled(late="import helpers", factor="helpers.FACTOR"), {"helpers.py": "FACTOR = 3.0\n"}),
    "by way of another": (
        scaled(imports="import one", factor="one.two.FACTOR"), {"one.py": "import two\n", "two.py": "FACTOR = 3.0\n"},
    ),
    "a package": (
        scaled(imports="import parts.inner as inner", factor="inner.FACTOR"),
        {"parts/__init__.py": "", "parts/inner.py": "from .deep import *\n",
         "parts/deep/__init__.py": "from ..number import FACTOR\n", "parts/number.py": "FACTOR = 3.0\n"},
    ),
    "a folder": (
        scaled(imports="from parts import inner", factor="inner.FACTOR"), {"parts/inner.py": "FACTOR = 3.0\n"},
    ),
    "a relative import": (scaled(imports="from .helpers import FACTOR"), {"helpers.py": "FACTOR = 3.0\n"}),
    "data": (
        scaled(imports='from pathlib import Path\nimport numpy as np\ndata_files = ["table.npy"]\n'
                       'FACTOR = float(np.load(Path(__file__).parent / "table.npy")[0])'),
        {"table.npy": 3.0},
    ),
    "data of a module, when it is used": (
        scaled(late="from parts.reading import factor", factor="factor()"),
        {"parts/reading.py": 'import numpy as np\nimport os.path\ndata_files = ("table.npy",)\n\n\ndef factor():\n'
                             '    return float(np.load(os.path.join(os.path.dirname(__file__), "table.npy"))[0])\n',
         "parts/table.npy": 3.0},
    ),
}  # fmt: skip


def factor() -> float:
    """The factor of the class that is registered as ``scaled``."""
    found = FUNCTION_CLASSES.build("scaled")
    assert isinstance(found, FunctionClass)
    return float(found.trivial_error(4) / 4) ** 0.5


@pytest.mark.parametrize("way", WAYS)
def test_a_plugin_takes_along_what_its_folder_holds_for_it(tmp_path: Path, way: str) -> None:
    text, files = WAYS[way]
    path = plugin_folder(tmp_path, files, text)
    plain = [name for name in ("helpers", "one", "two", "parts") if name in sys.modules]
    digest = load_plugin(path)
    assert factor() == 3
    assert {f"mine/{name}" for name in ("mine.py", *files)} == set(copies_of(["mine.py"], [digest]))
    # Nothing else finds its modules.
    assert [name for name in ("helpers", "one", "two", "parts") if name in sys.modules] == plain
    assert digest != hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("way", WAYS)
def test_an_edit_of_any_of_its_files_makes_another_plugin(tmp_path: Path, way: str) -> None:
    text, files = WAYS[way]
    digests = {load_plugin(plugin_folder(tmp_path / "one", files, text))}
    for name, content in files.items():
        changed = 4.0 if isinstance(content, float) else f"{content}\n# edited\n"
        FUNCTION_CLASSES._classes.pop("scaled", None)
        digests.add(load_plugin(plugin_folder(tmp_path / name.replace("/", "-"), {**files, name: changed}, text)))
    assert len(digests) == 1 + len(files)


def test_a_plugin_of_one_file_has_the_hash_of_that_file(tmp_path: Path) -> None:
    text = scaled(imports="import random, json, numpy\n\nFACTOR = 1.0")
    others = dict.fromkeys(("random.py", "json.py", "numpy.py", "unused.py"), "raise RuntimeError('was executed')\n")
    path = plugin_folder(tmp_path, others, text)
    digest = load_plugin(path)
    assert digest == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert copies_of(["mine.py"], [digest]) == {"mine.py": text.encode()}


def test_two_plugins_may_each_have_modules_of_one_name(tmp_path: Path) -> None:
    one = plugin_folder(
        tmp_path / "one", {"helpers.py": "FACTOR = 3.0\n"}, scaled(imports="from helpers import FACTOR")
    )
    other = plugin_folder(
        tmp_path / "other", {"helpers.py": "FACTOR = 5.0\n"},
        scaled(late="from helpers import FACTOR").replace('"scaled"', '"other"'),
    )  # fmt: skip
    load_plugin(one)
    load_plugin(other)
    assert factor() == 3
    found = FUNCTION_CLASSES.build("other")
    assert isinstance(found, FunctionClass)
    assert found.trivial_error(1) == 25


def test_what_was_hashed_is_what_a_late_import_executes(tmp_path: Path) -> None:
    path = plugin_folder(tmp_path, {"helpers.py": "FACTOR = 3.0\n"}, scaled(late="from helpers import FACTOR"))
    load_plugin(path)
    (tmp_path / "helpers.py").write_text("FACTOR = 5.0\n")
    assert factor() == 3


def test_an_error_in_what_it_imports_names_that_line(tmp_path: Path) -> None:
    path = plugin_folder(tmp_path, {"helpers.py": "\nx = {}['y']\n"}, scaled(imports="from helpers import FACTOR"))
    with pytest.raises(UserError, match=r"mine\.py failed to import: KeyError: 'y' \(helpers\.py, line 2\)"):
        load_plugin(path)
    assert not [name for name in sys.modules if name.endswith(".helpers") and name.startswith("icl_curriculum_plugin")]
    (tmp_path / "helpers.py").write_text("FACTOR = 3.0\n")
    load_plugin(path)
    assert factor() == 3


READING = "from pathlib import Path\nimport numpy as np\n{named}\nFACTOR = {reading}"


@pytest.mark.parametrize(
    ("named", "reading", "message"),
    [
        (
            "", 'float(np.load(Path(__file__).parent / "table.npy")[0])',
            r'mine\.py: reads table\.npy from its own folder without naming it.*write data_files = \["table.npy"\]',
        ),
        (
            "", 'float((Path(__file__).parent / "table.npy").read_bytes()[-1])',
            r"reads table\.npy from its own folder without naming it",
        ),
        (
            'data_files = ["table.npy"]', 'float(np.load("table.npy")[0])',
            r"reads table\.npy in the folder .*expected Path\(__file__\)\.parent / 'table\.npy'",
        ),
        ('data_files = ["tabel.npy"]', "1.0", r"mine\.py: data_files: 'tabel\.npy' does not exist in"),
        ('data_files = ["../table.npy"]', "1.0", r"'\.\./table\.npy' lies outside the plugin's folder"),
        ("data_files = [name for name in ()]", "1.0", r"line \d: data_files: expected a list of file names"),
        (
            "", '__import__("importlib").import_module("beside_it").FACTOR',
            r"reads beside_it\.py .*; import it by an import statement",
        ),
    ],
)  # fmt: skip
def test_what_it_reads_from_its_folder_must_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, reading: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    files: Mapping[str, str | float] = {"table.npy": 3.0, "beside_it.py": "FACTOR = 3.0\n"}
    path = plugin_folder(tmp_path, files, scaled(imports=READING.format(named=named, reading=reading)))
    with pytest.raises(UserError, match=message):
        load_plugin(path)
    # A plugin that goes on as if nothing had happened.
    swallowing = f"try:\n    FACTOR = {reading}\nexcept Exception:\n    FACTOR = 1.0"
    path = plugin_folder(
        tmp_path, {}, scaled(imports=f"from pathlib import Path\nimport numpy as np\n{named}\n{swallowing}")
    )
    with pytest.raises(UserError, match=message):
        load_plugin(path)


@pytest.mark.parametrize("swallowing", [False, True])
def test_what_it_reads_when_it_is_used_must_be_named(tmp_path: Path, swallowing: bool) -> None:
    late = 'FACTOR = float(np.load(Path(__file__).parent / "table.npy")[0])'
    if swallowing:
        late = f"try:\n            {late}\n        except Exception:\n            FACTOR = 1.0"
    imports = "from pathlib import Path\nimport numpy as np"
    load_plugin(plugin_folder(tmp_path, {"table.npy": 3.0}, scaled(imports=imports, late=late)))
    found = FUNCTION_CLASSES.build("scaled")
    assert isinstance(found, FunctionClass)
    with pytest.raises(ComponentFailed, match=r"'scaled' failed in draw: .*reads table\.npy from its own folder"):
        Task(found, Gaussian(), 2).draw(3, 4, Streams(0, "test"))


def test_what_a_copy_lacks_is_said_as_it_is_of_the_plugin_itself(tmp_path: Path) -> None:
    late = 'FACTOR = float(np.load(Path(__file__).parent / "table.npy")[0])'
    text = scaled(imports="from pathlib import Path\nimport numpy as np", late=late)
    plugin_folder(tmp_path / "lab", {"table.npy": 3.0}, text)
    copy = plugin_folder(tmp_path / "copies", {}, text)
    load_files(read_copies(copy.parent, ["mine.py"], known_as=[str(tmp_path / "lab/mine.py")])[0])
    with pytest.raises(UserError, match=r"lab/mine\.py: reads table\.npy from its own folder without naming it"):
        factor()


def test_data_that_changed_since_are_not_believed(tmp_path: Path) -> None:
    late = 'FACTOR = float(np.load(Path(__file__).parent / "table.npy")[0])'
    imports = 'from pathlib import Path\nimport numpy as np\ndata_files = ["table.npy"]'
    load_plugin(plugin_folder(tmp_path, {"table.npy": 3.0}, scaled(imports=imports, late=late)))
    assert factor() == 3
    np.save(tmp_path / "table.npy", np.array([5.0]))
    with pytest.raises(UserError, match=r"table\.npy has changed since the plugin was loaded"):
        factor()


def test_a_plugin_writes_and_looks_for_what_it_likes(tmp_path: Path) -> None:
    text = """
import os

for name in (os.devnull, "nowhere.npy"):
    try:
        open(name).close()
    except OSError:
        pass

with open(os.path.join(os.path.dirname(__file__), "log"), "w") as log:
    log.write("here")

FACTOR = 1.0
"""
    load_plugin(plugin_folder(tmp_path, {}, scaled(imports=text)))
    assert (tmp_path / "log").read_text() == "here"


def test_a_plugin_that_is_built_of_itself_when_it_is_imported_is_whole(tmp_path: Path) -> None:
    """A module that imports the plugin gets the plugin, not a second one that would register its names twice."""
    helpers = "def factor():\n    import mine\n\n    return mine.BASE\n"
    text = scaled(imports="import helpers\n\nBASE = 3.0", factor="helpers.factor()")
    load_plugin(plugin_folder(tmp_path, {"helpers.py": helpers}, text))
    assert factor() == 3
