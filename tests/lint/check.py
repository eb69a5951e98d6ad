#!/usr/bin/env python3
"""Rules of the code that the compiler does not know.

check.py CHECK [ROOT]     one of the functions below named check_CHECK; 0 = nothing found
check.py self             plants one violation of every kind in a temporary tree and expects each
                          to be reported: a check that cannot fail is worth nothing
"""
import os
import re
import subprocess
import sys
import tempfile

PRODUCT = ("chassis", "services", "tools", "examples")
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

# Which folder or file (a regular expression on the path) may include an outside header.
OUTSIDE = {
    r"uv(/|\.h)": r"chassis/loop/",
    r"lmdb\.h": r"chassis/store/lmdb\w*\.[ch]$",
    r"raft(/|\.h)": r"chassis/consensus/",
    r"grpc/": r"chassis/rpc/",
    r"openssl/": r"chassis/auth/",
    r"yaml\.h": r"chassis/config/",
    r"jansson\.h": r"tests/",
    r"microhttpd\.h": r"chassis/http/",
    r"nats/nats\.h": r"services/catalyst/engines/nats\.c",
    r"librdkafka/rdkafka\.h": r"services/catalyst/engines/kafka\.c",
    r"curl/": r"services/catalyst/push/curl\.c$",
    r"gnutls/": r"chassis/http/(socket|tls)\.c$",
    r"pcre2\.h": r"services/fuse/control_plane/regex\.c$",
    r"protobuf-c/": r"chassis/(proto|codegen)/",
}
STANDARD = re.compile(
    r"^(assert|ctype|errno|inttypes|limits|stdarg|stdbool|stddef|stdint|stdio|stdlib|string|time)\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
MODULE = re.compile(r"chassis_module\s*\(\s*NAME\s+(\w+)\s+LAYER\s+(\d+)", re.S)
WORDS = re.compile(r"\b(TODO|FIXME|XXX)\b|\bstub\b|\bplaceholder\b(?!=)|\bnot yet implemented\b", re.I)
SLEEP = re.compile(r"\b(sleep|usleep|nanosleep)\b *\(|^ *sleep [0-9]")
# Servers of tests that have to pause because their contract says so (interval_us of grpc.testing).
MAY_PAUSE = ("tests/interop/server/test_service.c",)
GENERATED_MESSAGES = re.compile(r"\.pb-c\.h$")


def files(root, folders, endings):
    for folder in folders:
        for path, folders_below, names in os.walk(os.path.join(root, folder)):
            folders_below[:] = sorted(f for f in folders_below if f != "node_modules")
            for name in sorted(names):
                if name.endswith(endings):
                    full = os.path.join(path, name)
                    yield os.path.relpath(full, root), full


def lines(full):
    with open(full, encoding="utf-8", errors="replace") as f:
        return f.read().splitlines()


def includes(full):
    for number, line in enumerate(lines(full), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1), found.group(2)


def check_outside(root):
    """Every outside library has one module that knows it; public headers know none."""
    for path, full in files(root, PRODUCT, (".c", ".h")):
        public = path.startswith("chassis/include/")
        for number, bracket, header in includes(full):
            if public and not header.startswith("chassis/") and not STANDARD.match(header):
                yield f"{path}:{number}: a public header includes <{header}>"
            for name, allowed in OUTSIDE.items():
                if bracket == "<" and re.match(name, header) and not re.match(allowed, path):
                    yield f"{path}:{number}: only {allowed} may include <{header}>"


def module_layers(root):
    layers = {}
    for _, full in files(root, ["chassis"], ("CMakeLists.txt",)):
        for name, layer in MODULE.findall("\n".join(lines(full))):
            layers[name] = int(layer)
    return layers


def check_layers(root):
    """A module includes headers of lower layers only; services never include one another."""
    layers = module_layers(root)
    for path, full in files(root, PRODUCT, (".c", ".h")):
        top, _, rest = path.partition("/")
        here = rest.split("/")[0]
        for number, bracket, header in includes(full):
            if header.startswith("../"):
                header = os.path.normpath(os.path.join(os.path.dirname(rest), header))
            folder = header.split("/")[0] if "/" in header else None
            if bracket != '"' or folder is None:
                continue
            if top == "chassis":
                if folder in PRODUCT:
                    yield f"{path}:{number}: the chassis includes \"{header}\""
                elif folder in layers and folder != here and here in layers \
                        and layers[folder] >= layers[here]:
                    yield (f"{path}:{number}: {here} (layer {layers[here]}) includes \"{header}\""
                           f" of {folder} (layer {layers[folder]})")
            elif top == "services":
                other = header.split("/")[1] if folder == "services" else folder
                if other != here and os.path.isdir(os.path.join(root, "services", other)) \
                        and other not in layers:
                    yield f"{path}:{number}: service {here} includes \"{header}\" of another service"


def check_messages(root):
    """Models, controllers and codecs of services are free of protobuf."""
    for path, full in files(root, ["services"], (".c", ".h")):
        if re.search(r"/(model|controller|codec|watch|record|command)\w*\.[ch]$", path):
            for number, _, header in includes(full):
                if GENERATED_MESSAGES.search(header):
                    yield f"{path}:{number}: only the view (rpc*.c) may include {header}"


def check_size(root):
    """Files of at most 600 lines, functions of at most 70."""
    for path, full in files(root, PRODUCT, (".c", ".h")):
        text = lines(full)
        if len(text) > FILE_LINES_MAX:
            yield f"{path}: {len(text)} lines, more than {FILE_LINES_MAX}: split it by noun"
        start = None
        for number, line in enumerate(text, 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start + 1 > FUNCTION_LINES_MAX:
                    yield (f"{path}:{start}: a function of {number - start + 1} lines, more than"
                           f" {FUNCTION_LINES_MAX}")
                start = None


def check_words(root):
    """Product code is finished."""
    for path, full in files(root, PRODUCT, (".c", ".h", ".proto", ".txt", ".cmake")):
        for number, line in enumerate(lines(full), 1):
            if WORDS.search(line):
                yield f"{path}:{number}: unfinished: {line.strip()}"


def check_sleep(root):
    """Tests wait on conditions."""
    endings = (".c", ".h", ".py", ".sh", ".js", ".mjs", ".rb", "run")
    for path, full in files(root, ["tests"], endings):
        if path.startswith("tests/lint/") or path in MAY_PAUSE:
            continue
        for number, line in enumerate(lines(full), 1):
            if SLEEP.search(line):
                yield f"{path}:{number}: a test that sleeps: {line.strip()}"


def check_format(root):
    """clang-format finds nothing to change."""
    sources = [full for _, full in files(root, PRODUCT + ("tests",), (".c", ".h"))]
    for some in range(0, len(sources), 50):
        result = subprocess.run(["clang-format", "--dry-run", "--ferror-limit=1"]
                                + sources[some:some + 50], capture_output=True, text=True)
        for line in result.stderr.splitlines():
            if "-Wclang-format-violations" in line:
                place = line.split(": ")[0]
                yield f"{os.path.relpath(place, root)}: not formatted: run ./dev fmt"
        if result.returncode != 0 and not result.stderr:
            yield f"clang-format failed with {result.returncode}"


def checks():
    return {name[len("check_"):]: f for name, f in globals().items() if name.startswith("check_")}


PLANTED = {
    "outside": [("chassis/rpc/a.c", "#include <uv.h>\n"),
                ("chassis/include/chassis/a.h", "#include <sys/socket.h>\n"),
                ("services/s/rpc.c", "#include <lmdb.h>\n"),
                ("services/fuse/control_plane/decide.c", "#include <pcre2.h>\n"),
                ("tools/dctl/a.c", "#include <grpc/grpc.h>\n")],
    "layers": [("chassis/low/a.c", '#include "high/b.h"\n'),
               ("chassis/low/b.c", '#include "level/b.h"\n'),
               ("services/s/a.c", '#include "t/model.h"\n'),
               ("services/s/b.c", '#include "services/t/model.h"\n'),
               ("services/s/kv/c.c", '#include "../../t/model.h"\n')],
    "messages": [("services/s/kv/model.c", '#include "core/kv.pb-c.h"\n')],
    "size": [("chassis/low/c.c", "int a;\n" * 601),
             ("tools/dctl/b.c", "void f(void)\n{\n" + "    g();\n" * 69 + "}\n")],
    "words": [("services/s/c.c", "/* TODO: later */\n"), ("chassis/low/d.c", "/* a stub */\n")],
    "sleep": [("tests/unit/a.c", "    usleep(5);\n"), ("tests/e2e/run", "sleep 1\n")],
    "format": [("chassis/low/e.c", "int   main( void ) { }\n")],
}
CLEAN = {
    "chassis/low/CMakeLists.txt": "chassis_module(NAME low LAYER 1\n    SOURCES a.c)\n",
    "chassis/level/CMakeLists.txt": "chassis_module(NAME level LAYER 1 SOURCES a.c)\n",
    "chassis/high/CMakeLists.txt": "chassis_module(NAME high LAYER 2 SOURCES a.c)\n",
    "chassis/high/a.c": '#include "low/b.h"\n',
    "chassis/loop/a.c": "#include <uv.h>\n",
    "chassis/include/chassis/b.h": "#include <stdint.h>\n\n#include <chassis/a.h>\n",
    "services/s/kv/rpc.c": '#include "core/kv.pb-c.h"\n\n#include "../model.h"\n',
    "services/t/model.h": "/* XXXXXX as in mkdtemp is no unfinished word */\n",
    "tests/unit/b.c": "/* waits; never sleeps */\n",
}


def write(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(text)


def self_test():
    wrong = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("DRAFT_TMP")) as root:
        for path, text in CLEAN.items():
            write(root, path, text)
        for name, check in checks().items():
            wrong += [f"{name}: wrongly reports {line}" for line in check(root)]
        for name, planted in PLANTED.items():
            for path, text in planted:
                write(root, path, text)
                if not any(line.startswith(path) for line in checks()[name](root)):
                    wrong.append(f"{name}: misses what is wrong in {path}")
                os.unlink(os.path.join(root, path))
    wrong += [f"{name}: nothing planted for it" for name in checks() if name not in PLANTED]
    return wrong


def main():
    root = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../..")
    root = os.path.realpath(root)
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name != "self" and name not in checks():
        sys.exit(f"check.py: one of: self {' '.join(checks())}")
    found = self_test() if name == "self" else list(checks()[name](root))
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


main()
