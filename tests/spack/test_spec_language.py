# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Versions and specs without Spack, compared with what Spack says itself."""

import json
import random
import re
from pathlib import Path

import pytest
from spack_oci.errors import InvalidSpec
from spack_oci.specs.constraints import Constraint
from spack_oci.specs.versions import Version, VersionSet
from spack_oci.store.database import Database
from spack_oci.store.locks import byte_of

IN_ORDER = Path(__file__).parents[1] / "store" / "specs" / "versions_in_order.txt"
WORDS = ["alpha", "beta", "rc", "final", "a", "Z", "z", "mastes", "master", "masteq", "main", "develop", "stable", "p"]
GIT = ["git.foo=1.2", "git.foo=develop", "git.bar=1.2", "a" * 40 + "=1.3", "git.a/b=1.2.rc1"]


def some_versions(random, count):
    made = []
    for _ in range(count):
        parts = [str(random.randint(0, 12)) if random.random() < 0.6 else random.choice(WORDS) for _ in range(4)]
        text = "".join(p + random.choice([".", ".", "-", "_", ""]) for p in parts[: random.randint(1, 4)])
        made.append(text.rstrip(".-_") if random.random() < 0.9 else text)
    return made


def test_versions_compare_as_in_spack(built, source):
    chance = random.Random(5)
    recipes = built.checkout.glob("var/spack/test_repos/**/package.py")
    known = {v for r in recipes for v in re.findall(r'version\(\s*"([^"]+)"', r.read_text())}
    texts = [*IN_ORDER.read_text().split(), *sorted(known), *some_versions(chance, 2000), *GIT * 20]
    pairs = [chance.sample(texts, 2) for _ in range(10000)]
    plain = [t for t in texts if "=" not in t]
    forms = ["{}", "={}", "{}:", ":{}", "{}:{}", "{},{}", "={},{}:"]
    members = [[chance.choice(texts), chance.choice(forms).format(*chance.sample(plain, 2))] for _ in range(10000)]
    theirs = _ask(
        built,
        source,
        {"pairs": pairs, "members": members},
        "from spack.version import Version, from_string\n"
        "def compare(a, b):\n"
        "    a, b = Version(a), Version(b)\n"
        "    return [a < b, a == b, a > b]\n"
        "def member(version, constraint):\n"
        "    try:\n"
        "        constraint = from_string(constraint)\n"
        "    except Exception:\n"
        "        return None\n"
        "    return Version(version).satisfies(constraint)\n"
        "answer = [[compare(*p) for p in asked['pairs']], [member(*m) for m in asked['members']]]\n",
    )
    assert [(pair, _compare(*pair)) for pair in pairs] == list(zip(pairs, theirs[0]))
    assert [(one, _member(*one)) for one in members] == list(zip(members, theirs[1]))


def _compare(one, other):
    one, other = Version.parse(one), Version.parse(other)
    return [one < other, one == other, one > other]


def _member(version, constraint):
    try:
        return Version.parse(version) in VersionSet.parse(constraint)
    except InvalidSpec:
        return None


def test_specs_match_as_in_spack(built, source):
    if built.version < (1, 2):
        pytest.skip("Spack 1.2 is the first whose satisfies() looks at all attributes of an edge")
    chance = random.Random(6)
    nodes = Database(str(_root(built, source))).read().nodes
    texts = [_some_spec(chance, list(nodes.values())) for _ in range(1500)]
    theirs = _ask(
        built,
        source,
        {"texts": texts},
        "import spack.store, spack.spec, spack.database\n"
        "known = spack.store.STORE.db.query(installed=spack.database.InstallRecordStatus.ANY)\n"
        "def matching(text):\n"
        "    try:\n"
        "        wanted = spack.spec.Spec(text)\n"
        "        return sorted(s.dag_hash() for s in known if s.satisfies(wanted))\n"
        "    except Exception:\n"
        "        return None\n"
        "answer = [[matching(t) for t in asked['texts']], {s.dag_hash(): s.dag_hash_bit_prefix(63) for s in known}]\n",
    )
    answered = [(text, found) for text, found in zip(texts, theirs[0]) if found is not None]
    assert len(answered) > 1000 and sum(bool(found) for _, found in answered) > 150
    wanted = [(text, Constraint.parse(text)) for text, _ in answered]
    assert [(t, sorted(h for h, n in nodes.items() if w.matches(n, nodes))) for t, w in wanted] == answered
    assert {h: byte_of(h) for h in theirs[1]} == theirs[1]


def _some_spec(chance, nodes, root=True):
    node = chance.choice(nodes)
    # never without a name: Spack takes the first dependency that fits, and looks at no other for what follows it
    text = node["name"]
    version, other = node["version"], chance.choice(nodes)["version"]
    if chance.random() < 0.5:
        text += "@" + chance.choice(["{0}", "={0}", "{0}:", ":{0}", "{1}", ":{1},{0}"]).format(version, other)
    variants = [(k, v) for k, v in node["parameters"].items() if not k.endswith("flags") and k != "ldlibs"]
    for name, value in chance.sample(variants, min(len(variants), chance.randint(0, 2))):
        if isinstance(value, bool):
            text += chance.choice(["+", "~", "++", " +"]) + name
        else:
            wanted = ",".join(value) if isinstance(value, list) else str(value)
            text += f" {name}{chance.choice(['=', ':=', '=='])}{wanted or '*'}"
    if chance.random() < 0.2:
        text += f" target={chance.choice(['x86_64', 'x86_64:', ':x86_64_v4', 'aarch64:', 'zen,x86_64'])}"
    if chance.random() < 0.1:
        text += chance.choice([" os=debian12", " platform=linux", f" /{node['hash'][:3]}"])
    if root:
        for _ in range(chance.choice([0, 1, 1, 2])):
            text += f" {chance.choice(['^', '%', '^', '%[deptypes=build]'])}{_some_spec(chance, nodes, False)}"
    return text


def _root(built, source):
    return built.script("import spack.store; print(spack.store.STORE.root)").strip()


def _ask(built, source, asked, code):
    """``answer``, as a script in Spack sets it; ``asked`` is there."""
    spack = source(ours=False)
    (spack.home / "asked.json").write_text(json.dumps(asked))
    head = f"import json\nasked = json.load(open({str(spack.home / 'asked.json')!r}))\n"
    return json.loads(spack.script(f"{head}{code}print(json.dumps(answer))\n"))
