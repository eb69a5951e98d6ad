#!/usr/bin/env python3
"""The documentation against the tree it describes.

docs.py CHECK [ROOT]      links, readmes, echo or reference; 0 = nothing found
docs.py all [ROOT]        all but reference, which needs the programs (DRAFT_BIN)
docs.py self              plants one mistake of every kind and expects each to be reported
docs.py write [ROOT]      writes docs/reference from the programs (in build/release, else DRAFT_BIN)
"""
import difflib
import os
import re
import subprocess
import sys
import tempfile

SKIPPED = (".git", "build", "node_modules")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
# Folders whose every subfolder with sources has a README of its own.
WITH_README = ("chassis", "services", "tools")
# Single folders that have one.
README_TOO = ("chassis", "proto", "examples", "tests/sim", "tests/e2e", "tests/fuzz", "tests/bench",
              "tests/interop")
NO_MODULE = ("chassis/include",)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def pages(root):
    for path, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in sorted(names):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(path, name), root)


def anchors(text):
    """The names GitHub gives to headings."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", FENCE.sub("", text), re.M):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(name)
    return found


def check_links(root):
    """Relative links lead somewhere, also to the heading they name."""
    for page in pages(root):
        text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", read(os.path.join(root, page))))
        for link in (a or b for a, b in LINK.findall(text)):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(root, os.path.dirname(page), path)) if path \
                else os.path.join(root, page)
            if not os.path.exists(target):
                yield f"{page}: no file for the link '{link}'"
            elif anchor and target.endswith(".md") and anchor not in anchors(read(target)):
                yield f"{page}: no heading for the link '{link}'"


def check_readmes(root):
    """Every module, service and tool has a README, and so have the folders of tests."""
    wanted = [f for f in README_TOO if os.path.isdir(os.path.join(root, f))]
    for top in WITH_README:
        if os.path.isdir(os.path.join(root, top)):
            for name in sorted(os.listdir(os.path.join(root, top))):
                folder = f"{top}/{name}"
                full = os.path.join(root, folder)
                if folder not in NO_MODULE and os.path.isdir(full) and any(
                        n.endswith((".c", ".h", "CMakeLists.txt")) for n in os.listdir(full)):
                    wanted.append(folder)
    for folder in wanted:
        if not os.path.exists(os.path.join(root, folder, "README.md")):
            yield f"{folder}: no README.md"


def check_echo(root):
    """The service shown in the README is examples/echo, to the letter."""
    blocks = [code for language, code in FENCE.findall(read(os.path.join(root, "README.md")))
              if language == "c"]
    source = read(os.path.join(root, "examples/echo/main.c"))
    if source not in blocks:
        yield "README.md: no C block is the same as examples/echo/main.c"


def program(name, *arguments):
    release = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../build/release/bin")
    path = os.path.join(os.environ.get("DRAFT_BIN", release), name)
    return subprocess.run([path, *arguments], check=True, capture_output=True, text=True,
                          cwd=os.environ.get("DRAFT_TMP", "/")).stdout


def configuration():
    """Keys of every service, and below them what those of the platform add or set otherwise."""
    every = program("echo", "--config-reference").splitlines()
    made = "Made from the programs' own tables (`SERVICE --config-reference`) by\n`tests/lint/docs.py write`."
    out = ["# Configuration keys", "", made,
           "How the sources combine: [configuration](../guide/configuration.md).", "",
           "In a variable's name `*` stands for a name of yours in capitals.", "",
           "## Every service", ""] + every
    for name in ("blueprint", "catalyst", "fuse"):
        own = [row for row in program(name, "--config-reference").splitlines() if row not in every]
        out += ["", f"## {name.capitalize()}", "", "Keys of its own, and defaults that differ.", ""]
        out += every[:2] + own
    return "\n".join(out) + "\n"


def reference():
    return {"docs/reference/configuration.md": configuration(),
            "docs/reference/dctl.md": program("dctl", "docs")}


def check_reference(root):
    """docs/reference is what the programs print."""
    for path, text in reference().items():
        full = os.path.join(root, path)
        kept = read(full) if os.path.exists(full) else ""
        if kept != text:
            yield f"{path} is stale: run tests/lint/docs.py write"
            yield from list(difflib.unified_diff(kept.splitlines(), text.splitlines(), "kept",
                                                 "printed", lineterm="", n=0))[:12]


CHECKS = {"links": check_links, "readmes": check_readmes, "echo": check_echo}


def write(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(text)


CLEAN = {
    "README.md": "# A b!\n[x](docs/a.md#the-head-of-it) [y](https://a/b) [z](#a-b) `[n](no)`\n"
                 "```c\nint a;\n```\n",
    "docs/a.md": "## The *head* of `it`\n[up](../README.md)\n```\n[not](a-link)\n```\n",
    "examples/echo/main.c": "int a;\n",
    "examples/README.md": "", "chassis/README.md": "",
    "chassis/low/a.c": "", "chassis/low/README.md": "",
    "chassis/include/a.h": "",
}
PLANTED = {
    "links": [("docs/b.md", "[gone](c.md)\n"), ("docs/b.md", "[gone](a.md#nowhere)\n"),
              ("docs/b.md", "![gone](picture.png)\n")],
    "readmes": [("chassis/high/a.c", ""), ("services/s/main.c", ""), ("tests/sim/a.c", "")],
    "echo": [("examples/echo/main.c", "int b;\n")],
}


def self_test():
    wrong = []
    for name, check in CHECKS.items():
        for path, text in [(None, None)] + PLANTED[name]:
            with tempfile.TemporaryDirectory(dir=os.environ.get("DRAFT_TMP")) as root:
                for clean, content in CLEAN.items():
                    write(root, clean, content)
                if path:
                    write(root, path, text)
                found = list(check(root))
            if path and not found:
                wrong.append(f"{name}: misses what is wrong in {path}")
            elif not path and found:
                wrong.append(f"{name}: wrongly reports {found}")
    return wrong


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    root = sys.argv[2] if len(sys.argv) > 2 else os.path.join(os.path.dirname(__file__), "../..")
    root = os.path.realpath(root)
    if name == "write":
        for path, text in reference().items():
            write(root, path, text)
        return
    if name not in ("all", "self", "reference", *CHECKS):
        sys.exit(f"docs.py: one of: all self reference write {' '.join(CHECKS)}")
    found = self_test() if name == "self" else [
        line for check in ([check_reference] if name == "reference" else CHECKS.values()
                           if name == "all" else [CHECKS[name]]) for line in check(root)]
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


main()
