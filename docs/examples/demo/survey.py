"""What a worker computes about one source file; the demo's final check computes it again."""

import hashlib
import json
import sysconfig
from pathlib import Path


def survey(path: Path) -> bytes:
    """Return the file's name, lines, words and SHA-256 as JSON."""
    content = path.read_bytes()
    facts = {
        "name": path.name,
        "lines": content.count(b"\n"),
        "words": len(content.split()),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return json.dumps(facts).encode()


def library_files() -> list[Path]:
    """Return every `.py` file of the Python standard library, without installed packages."""
    root = Path(sysconfig.get_path("stdlib"))
    installed = {"site-packages", "dist-packages"}
    return sorted(
        path for path in root.rglob("*.py") if path.is_file() and not installed & set(path.parts)
    )
