# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""The registry client against Spack's own opener, upload and fetch code: same registry, same run, a process for each.

    [SPACK_ROOT=DIR] python tests/bench/bench_registry.py [--blobs 2000] [--size 1024] [--rounds 3] [--delay MS]

``small``: HEAD + GET of small blobs over TLS. ``large``: one blob of ``--size`` MiB up and down, digest checked, over
TLS and over plain http. Without SPACK_ROOT, Spack 1.1.0 is cloned. The limits of loopback and registry are shown by a
bare TLS socket that sends the same requests over one connection, and by curl. On a machine that is busy otherwise the
processor times (client and registry) are steadier than the wall clock. Files are under $TMPDIR: on a disk, what is
written in the background is waited for before each measurement, and the old target is removed.

docker-registry spends more on a small request than our client does, and so bounds the ratio. ``--registry`` measures
with another one, e.g. one around the handler of go-containerregistry: ``--registry "PROGRAM {address} {cert} {key}"``.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, List

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lib"), str(ROOT / "tests")]

from spack_oci.content import BytesSource, FileSource  # noqa: E402
from spack_oci.descriptor import OCI_LAYER, Descriptor  # noqa: E402
from spack_oci.reference import Repository  # noqa: E402
from spack_oci.registry import RegistrySettings, open_repository  # noqa: E402
from support.network.relay import relay  # noqa: E402
from support.registries.docker_registry import DockerRegistry, docker_registry  # noqa: E402
from support.registries.other_registry import other_registry  # noqa: E402

NAME = "bench/blobs"
SMALL = 2048  # bytes


# -- what is measured: each runs in a process of its own ---------------------------------------------------------------


def our_store(task: Dict[str, Any]) -> Any:
    scheme, _, host = task["url"].partition("://")
    return open_repository(Repository(host, NAME, scheme), RegistrySettings(ca_bundle=task["ca"]))


def our_small(task: Dict[str, Any]) -> Callable[[], None]:
    store = our_store(task)
    descriptors = [Descriptor(OCI_LAYER, digest, SMALL) for digest in task["digests"]]

    def one(descriptor: Descriptor) -> None:
        assert store.has_blob(descriptor.digest)
        with store.open_blob(descriptor) as reader:
            reader.read()

    return lambda: in_threads(task["threads"], one, descriptors)


def in_threads(threads: int, one: Callable[[Any], None], items: List[Any]) -> None:
    if threads == 1:
        for item in items:
            one(item)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(one, items):
                pass


def our_up(task: Dict[str, Any]) -> Callable[[], None]:
    store = our_store(task)
    descriptor = Descriptor(OCI_LAYER, task["digest"], os.path.getsize(task["file"]))

    def run() -> None:
        assert store.put_blob(descriptor, FileSource(task["file"]))

    return run


def our_down(task: Dict[str, Any]) -> Callable[[], None]:
    store = our_store(task)
    descriptor = Descriptor(OCI_LAYER, task["digest"], os.path.getsize(task["file"]))

    def run() -> None:
        with open(task["target"], "w+b") as f:
            store.save_blob(descriptor, f)

    return run


def bare_small(task: Dict[str, Any]) -> Callable[[], None]:
    """The least that a client in Python can spend: no HTTP library, no digest."""
    host, port = task["url"].partition("://")[2].split(":")
    context = ssl.create_default_context(cafile=task["ca"])
    sock = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)

    def request(method: str, digest: str, size: int) -> None:
        sock.sendall(f"{method} /v2/{NAME}/blobs/{digest} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data or len(data) - data.index(b"\r\n\r\n") - 4 < size:
            data += sock.recv(65536)

    def run() -> None:
        for digest in task["digests"]:
            request("HEAD", digest, 0)
            request("GET", digest, SMALL)

    return run


def spack_opener(task: Dict[str, Any]) -> Any:
    sys.path[:0] = [
        os.path.join(task["spack"], "lib", "spack"),
        os.path.join(task["spack"], "lib", "spack", "external"),
    ]
    if task["ca"]:
        os.environ["SSL_CERT_FILE"] = task["ca"]
    import spack.oci.image
    import spack.oci.oci
    import spack.oci.opener

    scheme, _, host = task["url"].partition("://")
    url = f"oci://{host}/{NAME}" if scheme == "https" else f"oci+http://{host}/{NAME}"
    image = spack.oci.image.ImageReference.from_url(url)
    return spack.oci, image, spack.oci.opener.create_opener().open


def spack_small(task: Dict[str, Any]) -> Callable[[], None]:
    from urllib.request import Request

    oci, image, urlopen = spack_opener(task)
    digests = [oci.image.Digest.from_string(d) for d in task["digests"]]

    def one(digest: Any) -> None:
        assert oci.oci.blob_exists(image, digest, _urlopen=urlopen)
        content = urlopen(Request(url=image.blob_url(digest))).read()
        assert hashlib.sha256(content).hexdigest() == digest.digest

    return lambda: in_threads(task["threads"], one, digests)


def spack_up(task: Dict[str, Any]) -> Callable[[], None]:
    oci, image, urlopen = spack_opener(task)
    digest = oci.image.Digest.from_string(task["digest"])

    def run() -> None:
        assert oci.oci.upload_blob(image, task["file"], digest, _urlopen=urlopen)

    return run


def spack_down(task: Dict[str, Any]) -> Callable[[], None]:
    """What a stage does: fetch into a file, then check the file."""
    oci, image, urlopen = spack_opener(task)
    import spack.fetch_strategy

    digest = oci.image.Digest.from_string(task["digest"])
    strategy = spack.fetch_strategy.OCIRegistryFetchStrategy(
        url=image.blob_url(digest), checksum=digest.digest, _urlopen=urlopen
    )
    strategy.stage = types.SimpleNamespace(
        save_filename=task["target"], archive_file=task["target"], path=os.path.dirname(task["target"])
    )

    def run() -> None:
        strategy.fetch()
        strategy.check()

    return run


MEASURED = {f.__name__: f for f in (our_small, our_up, our_down, bare_small, spack_small, spack_up, spack_down)}


def child(name: str, task: Dict[str, Any]) -> None:
    """Run one and print seconds and MiB as JSON. What comes before the first request is not counted."""
    run = MEASURED[name](task)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, started = time.process_time(), time.monotonic()
    sys.stdout.flush()
    with open(os.devnull, "w") as null:
        out, sys.stdout = sys.stdout, null  # Spack says what it fetches
        run()
        sys.stdout = out
    result = {"wall": time.monotonic() - started, "cpu": time.process_time() - cpu, "base": base >> 10}
    print(json.dumps({**result, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}))


# -- the bench ---------------------------------------------------------------------------------------------------------


def measure(name: str, task: Dict[str, Any], registry: DockerRegistry) -> Dict[str, float]:
    before = processor_time(registry.process.pid)
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    environment.update(SPACK_DISABLE_LOCAL_CONFIG="1", SPACK_USER_CACHE_PATH=task["work"], PYTHONDONTWRITEBYTECODE="1")
    # the task goes through standard input: thousands of digests are too long for an argument
    command = [sys.executable, __file__, "--child", name]
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    return {**result, "total_cpu": result["cpu"] + processor_time(registry.process.pid) - before}


def processor_time(pid: int) -> float:
    """Seconds of a process so far (Linux; elsewhere 0)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(title: str, what: str, tasks: List[Dict[str, Any]], registry: DockerRegistry, amount: float, unit: str):
    """Medians over the tasks, alternating who goes first."""
    names = ["spack", "our"] + (["bare"] if f"bare_{what}" in MEASURED else [])
    results: Dict[str, List[Dict[str, float]]] = {name: [] for name in names}
    for n, task in enumerate(tasks):
        for who in names if n % 2 else reversed(names):
            clear_the_way(what, task, registry)
            results[who].append(measure(f"{who}_{what}", task, registry))

    def median(who: str, key: str) -> float:
        return statistics.median(r[key] for r in results[who])

    print(f"{title}")
    for who in names:
        print(
            f"  {who:6} {amount / median(who, 'wall'):8.0f} {unit}/s   wall {median(who, 'wall'):6.2f} s   "
            f"cpu {median(who, 'cpu'):6.2f} s, with the registry's {median(who, 'total_cpu'):6.2f} s   "
            f"peak {median(who, 'peak'):4.0f} MiB ({median(who, 'base'):.0f} before the first request)   "
            f"each {' '.join(format(r['wall'], '.2f') for r in results[who])}"
        )
    cpu, total_cpu = (median("spack", key) / max(median("our", key), 1e-9) for key in ("cpu", "total_cpu"))
    paired = statistics.median(s["wall"] / o["wall"] for s, o in zip(results["spack"], results["our"]))
    wall = median("spack", "wall") / median("our", "wall")
    best = min(r["wall"] for r in results["spack"]) / min(r["wall"] for r in results["our"])
    ratios = f"wall {wall:.2f}x, paired {paired:.2f}x, of the best runs {best:.2f}x"
    print(f"  ratio  {ratios}; cpu {cpu:.2f}x, with the registry's {total_cpu:.2f}x", flush=True)


def clear_the_way(what: str, task: Dict[str, Any], registry: DockerRegistry) -> None:
    """Nobody pays for what was before: neither for removing its file, nor for the disk still writing it."""
    if what == "up":  # without the content, so that an upload is one
        shutil.rmtree(registry.directory / "data" / "docker", ignore_errors=True)
    if what == "down":
        Path(task["target"]).unlink(missing_ok=True)
    if what != "small":
        os.sync()


def small(arguments: argparse.Namespace, spack: str, work: str) -> None:
    with ExitStack() as stack:
        if arguments.registry:
            registry = stack.enter_context(other_registry(arguments.registry, Path(work)))
        else:
            registry = stack.enter_context(docker_registry(tls=True, fast=True, access_log=False))
        host = stack.enter_context(relay(registry.host, arguments.delay / 1000))
        task = {"url": registry.url, "ca": registry.ca, "spack": spack, "work": work, "threads": arguments.threads}
        store, digests = our_store(task), []
        for _ in range(arguments.blobs):
            data = os.urandom(SMALL)
            descriptor = Descriptor.of(data, OCI_LAYER)
            store.put_blob(descriptor, BytesSource(data))
            digests.append(descriptor.digest)
        tasks = [{**task, "digests": digests, "url": f"https://{host}"}] * arguments.rounds
        how = f"TLS, {arguments.threads} threads, {arguments.delay} ms away"
        title = f"{arguments.blobs} blobs of {SMALL} bytes, HEAD + GET, {how}"
        compare(title, "small", tasks, registry, 2 * arguments.blobs, "requests")


def large(arguments: argparse.Namespace, spack: str, work: str) -> None:
    file = os.path.join(work, "blob")
    hasher = hashlib.sha256()
    with open(file, "wb") as f:
        for _ in range(arguments.size):
            piece = os.urandom(1 << 20)
            hasher.update(piece)
            f.write(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    for tls in (False, True):
        directory = Path(tempfile.mkdtemp(dir=work))
        with docker_registry(tls=tls, fast=True, access_log=False, directory=directory) as registry:
            task = {"url": registry.url, "ca": registry.ca, "spack": spack, "work": work, "file": file}
            tasks = [{**task, "digest": digest, "target": os.path.join(work, "down")}] * arguments.rounds
            kind = "TLS" if tls else "plain http"
            compare(f"{arguments.size} MiB up, {kind}", "up", tasks, registry, arguments.size, "MiB")
            compare(f"{arguments.size} MiB down, {kind}", "down", tasks, registry, arguments.size, "MiB")
            curl(registry, file, digest, arguments.size)


def curl(registry: DockerRegistry, file: str, digest: str, size: int) -> None:
    """What loopback and registry allow: curl without any check."""
    if not shutil.which("curl"):
        return
    bare = ["curl", "-sS", "--fail", "-o", os.devnull, *(["--cacert", registry.ca] if registry.ca else [])]
    base = [*bare, "-w", "%{time_total}"]
    url = f"{registry.url}/v2/{NAME}/blobs/"
    down = float(subprocess.run([*base, url + digest], capture_output=True, text=True, check=True).stdout)
    post = [*bare, "-D", "-", "-X", "POST", "-H", "Content-Length: 0", url + "uploads/"]
    head = subprocess.run(post, capture_output=True, text=True, check=True).stdout
    location = next((h.split()[1] for h in head.splitlines() if h.lower().startswith("location:")), "")
    line = f"  curl   down {size / down:.0f} MiB/s"
    if location.startswith("http"):
        headers = ["-H", "Content-Type: application/octet-stream", "-H", "Expect:"]
        put = [*base, *headers, "-T", file, f"{location}&digest={digest}"]
        up = float(subprocess.run(put, capture_output=True, text=True, check=True).stdout)
        line += f", up {size / up:.0f} MiB/s"
    print(line, flush=True)


def find_spack(work: str) -> str:
    found = os.environ.get("SPACK_ROOT")
    if not found:
        found = os.path.join(work, "spack")
        source = ["https://github.com/spack/spack", "--branch", "v1.1.0"]
        subprocess.run(["git", "clone", "-q", "--depth", "1", *source, found], check=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blobs", type=int, default=2000)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large blob")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0, help="round trip to the registry in ms, for the small blobs")
    parser.add_argument("--threads", type=int, default=1, help="that ask for the small blobs at the same time")
    parser.add_argument("--registry", help="command of another registry for the small blobs: {address} {cert} {key}")
    parser.add_argument("--only", choices=["small", "large"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child, json.load(sys.stdin))
    with tempfile.TemporaryDirectory(prefix="bench-registry-") as work:
        spack = find_spack(work)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", flush=True)
        for part in (small, large):
            if arguments.only in (None, part.__name__):
                part(arguments, spack, work)
        print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
