#!/usr/bin/env python3
"""Run gRPC's own interoperability clients (Python, Ruby) against our TestService.

usage: foreign_clients.py python|ruby SERVER_BINARY

The clients come from Debian's grpc source package, fetched once through a private apt root into
build/deps/grpc-source; they run on Debian's python3-grpcio and ruby-grpc. Every case must pass; a
client that cannot be had or started is a failure.
"""
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

VERSION = "1.51.1"
SOURCE = pathlib.Path(os.environ["DRAFT_SOURCE"])
ROOT = SOURCE.resolve() / "build" / "deps" / "grpc-source"
PYTHON_CASES = """empty_unary large_unary server_streaming client_streaming ping_pong
    cancel_after_begin cancel_after_first_response timeout_on_sleeping_server empty_stream
    status_code_and_message unimplemented_method unimplemented_service custom_metadata
    special_status_message""".split()
RUBY_CASES = """empty_unary large_unary client_streaming server_streaming ping_pong
    timeout_on_sleeping_server empty_stream cancel_after_begin cancel_after_first_response
    unimplemented_method unimplemented_service status_code_and_message custom_metadata""".split()


def fetch_source():
    """Unpack the few folders the clients live in; the archive is checked by apt's signatures. Both
    languages want it, perhaps at the same time: the second waits for the first."""
    ROOT.parent.mkdir(parents=True, exist_ok=True)
    lock = open(ROOT.with_suffix(".lock"), "w", encoding="ascii")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if (ROOT / "done").exists():
        return
    shutil.rmtree(ROOT, ignore_errors=True)
    apt = ROOT / "apt"
    for folder in ("lists/partial", "cache/archives/partial", "etc"):
        (apt / folder).mkdir(parents=True)
    uri = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
         "Codename: bookworm", "Component: main"], capture_output=True, text=True,
        check=True).stdout.split()
    if not uri:
        sys.exit("interop: apt knows no source for Debian bookworm main; run apt-get update")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "etc/sources.list").write_text(f"deb-src [signed-by={keyring}] {uri[0]} bookworm main\n")
    options = ["-o", f"Dir::Etc::sourcelist={apt}/etc/sources.list", "-o",
               "Dir::Etc::sourceparts=-", "-o", f"Dir::State::lists={apt}/lists", "-o",
               f"Dir::Cache={apt}/cache", "-o", "APT::Sandbox::User=root"]
    subprocess.run(["apt-get", *options, "update", "-qq"], check=True)
    subprocess.run(["apt-get", *options, "source", "-qq", "--download-only", "grpc"], cwd=ROOT,
                   check=True)
    top = f"grpc-{VERSION}"
    subprocess.run(["tar", "xzf", f"grpc_{VERSION}.orig.tar.gz", f"{top}/src/ruby/pb",
                    f"{top}/src/python/grpcio_tests/tests", f"{top}/src/proto/grpc/testing"],
                   cwd=ROOT, check=True)
    (ROOT / "done").touch()


def python_command():
    """Generate the client's message code beside its test modules."""
    top = ROOT / f"grpc-{VERSION}"
    out = ROOT / "python"
    # Only the interop package: the parent's __init__ drags in a whole test loader.
    shutil.copytree(top / "src/python/grpcio_tests/tests/interop", out / "tests/interop",
                    dirs_exist_ok=True)
    (out / "tests/__init__.py").touch()
    plugin = shutil.which("grpc_python_plugin")
    subprocess.run(["protoc", "-I.", f"--python_out={out}", f"--grpc_out={out}",
                    f"--plugin=protoc-gen-grpc={plugin}", "src/proto/grpc/testing/empty.proto",
                    "src/proto/grpc/testing/messages.proto", "src/proto/grpc/testing/test.proto"],
                   cwd=top, check=True)
    return ["/usr/bin/python3", "-m", "tests.interop.client"], {"PYTHONPATH": str(out)}


def ruby_command():
    """The client asks for grpc by a relative path: give it Debian's library under that name."""
    top = ROOT / "ruby"
    (top / "lib").mkdir(parents=True, exist_ok=True)
    (top / "lib" / "grpc.rb").write_text("$LOAD_PATH.reject! { |d| File.identical?(d, __dir__) }\nrequire 'grpc'\n")
    shutil.copytree(ROOT / f"grpc-{VERSION}/src/ruby/pb", top / "pb", dirs_exist_ok=True)
    return ["/usr/bin/ruby", "-I", str(top / "pb"), str(top / "pb/test/client.rb")], {}


LANGUAGES = {"python": (python_command, PYTHON_CASES), "ruby": (ruby_command, RUBY_CASES)}


def main():
    language, binary = sys.argv[1:]
    fetch_source()
    command, cases = LANGUAGES[language]
    argv, environment = command()
    server = subprocess.Popen([binary], stdout=subprocess.PIPE, text=True)
    failed = []
    try:
        port = server.stdout.readline().strip()
        if not port.isdigit():
            sys.exit(f"interop: '{binary}' did not print its port")
        for case in cases:
            done = subprocess.run(
                [*argv, "--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}",
                 "--use_tls=false"], env={**os.environ, **environment}, capture_output=True,
                text=True, timeout=60, check=False)
            print(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {language} {case}", flush=True)
            if done.returncode != 0:
                failed.append(case)
                print(done.stdout[-2000:] + done.stderr[-2000:])
        if server.poll() is not None:
            failed.append("the server ended by itself")
    finally:
        server.terminate()
        server.wait()
    print(f"{len(cases) - len(failed)} of {len(cases)} {language} cases passed")
    sys.exit(1 if failed else 0)


main()
