# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""What an install has left, in a form in which two of them can be compared."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

#: written at every install, with times in them
TIMES = (".spack/install_times.json", ".spack/sbom/spdx-2.3.json")
#: kind and mode, (user, group), names of the file, digest or target
Entry = Tuple[str, Tuple[int, int], int, str]


def tree_of(prefix: Path, ignore: Callable[[str], bool] = lambda name: False) -> Dict[str, Entry]:
    """Relative path -> everything that a user of the prefix could see of it but the times.

    ``ignore``: files whose content does not count, by name.
    """
    result: Dict[str, Entry] = {".": (stat.filemode(os.stat(prefix).st_mode), (0, 0), 0, "")}
    for directory, directories, files in os.walk(prefix):
        for name in directories + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode) and not ignore(name):
                with open(path, "rb") as f:
                    data = f.read()
                if name.endswith(".pyc") and len(data) > 16 and not data[4] & 1:
                    data = data[:8] + data[12:]  # PEP 552: the time of the source
                content = hashlib.sha256(data).hexdigest()
            links = status.st_nlink if stat.S_ISREG(status.st_mode) else 0
            owner = (status.st_uid, status.st_gid)
            result[os.path.relpath(path, prefix)] = (stat.filemode(status.st_mode), owner, links, content)
    return {path: found for path, found in result.items() if not path.endswith(TIMES)}


def records_of(tree: Path) -> Dict[str, Any]:
    """The database of an install tree without the times: dag hash -> record."""
    path = tree / ".spack-db" / "index.json"
    installs = json.loads(path.read_text())["database"]["installs"]
    for record in installs.values():
        record.pop("installation_time", None)
    return installs


#: arguments of Spack's own checks: of the files against the manifests, of the libraries that programs need
VERIFY = (("verify", "manifest", "--json", "--all"), ("verify", "libraries"))


def findings(output: str) -> List[str]:
    """The lines of such a check, without those of files that hold times."""
    return sorted(line for line in output.splitlines() if "install_times" not in line)
