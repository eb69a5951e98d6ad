#!/usr/bin/env python3
"""Services outside the tree, built against an installed chassis: one with CMake's find_package and
with nothing but pkg-config, protoc and cc; and the crud example, which proves that the examples need
public headers only. All are run and called."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.realpath(__file__))
DEADLINE = 30


def run(*command, **options):
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            **options)
    if result.returncode != 0:
        sys.exit(f"$ {' '.join(command)}\n{result.stdout}\nexit code {result.returncode}")
    return result.stdout.strip()


def with_cmake(prefix, work):
    build = os.path.join(work, "cmake")
    run("cmake", "-G", "Ninja", "-S", os.path.join(work, "service"), "-B", build,
        f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    return os.path.join(build, "hello")


def with_pkg_config(prefix, work):
    found = glob.glob(f"{prefix}/lib*/**/pkgconfig", recursive=True)
    env = dict(os.environ, PKG_CONFIG_PATH=":".join(found))

    def ask(*arguments):
        return run("pkg-config", *arguments, "chassis", env=env)

    service, out = os.path.join(work, "service"), os.path.join(work, "generated")
    os.mkdir(out)
    protos = ask("--variable=protodir")
    plugin = ask("--variable=protoc_gen_chassis")
    for proto, options in (("core/registry/key_value/v1/key_value.proto", ""),
                           ("demo/hello/v1/hello.proto", "services,prefix=hello:")):
        run("protoc", f"--plugin=protoc-gen-chassis={plugin}", f"-I{service}", f"-I{protos}",
            f"--chassis_out={options}{out}", proto)
    sources = glob.glob(f"{out}/**/*.c", recursive=True)
    program = os.path.join(work, "hello")
    run("cc", "-std=c17", "-O2", "-o", program, os.path.join(service, "main.c"), *sources,
        f"-I{out}", *ask("--cflags", "--libs").split())
    return program


def crud(prefix, work):
    """The crud example with a build file of its own."""
    source, build = os.path.join(work, "crud-source"), os.path.join(work, "crud")
    shutil.copytree(os.path.join(os.environ["DRAFT_SOURCE"], "examples", "crud"), source)
    shutil.copyfile(os.path.join(HERE, "crud.cmake"), os.path.join(source, "CMakeLists.txt"))
    run("cmake", "-G", "Ninja", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    return os.path.join(build, "crud")


def post(port, method, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{method}",
                                     json.dumps(body).encode(),
                                     {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return json.load(answer)


def greet(port):
    greeting = post(port, "demo.hello.v1.HelloService/Hello", {"name": "stranger"})
    assert greeting["greeting"] == {"data": "hello stranger"}, greeting
    assert greeting["time"] == "1970-01-01T00:00:00Z", greeting


def create_and_read(port):
    name = {"firstName": "Ada", "lastName": "Lovelace"}
    made = post(port, "examples.crud.v1.CrudService/Create", {"name": name})["id"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                        made), made
    read = post(port, "examples.crud.v1.CrudService/Read", {"id": made})["name"]
    assert read == {"id": made, **name}, read


def call(program, work, talk):
    """Start it on free ports, talk to it as JSON, stop it."""
    ports = os.path.join(work, "ports.json")
    if os.path.exists(ports):
        os.unlink(ports)
    with open(os.path.join(work, "log"), "w", encoding="utf-8") as log:
        process = subprocess.Popen([program, "--service.network.bind_port=0",
                                    "--service.network.http_port=0",
                                    "--service.network.admin_port=0",
                                    f"--service.network.port_file={ports}"],
                                   cwd=work, stdout=log, stderr=log)
    try:
        end = time.monotonic() + DEADLINE
        while not os.path.exists(ports):
            assert process.poll() is None and time.monotonic() < end, "it is not ready"
        with open(ports, encoding="utf-8") as f:
            talk(json.load(f)["http"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0, "it does not stop cleanly"
    except BaseException:
        with open(os.path.join(work, "log"), encoding="utf-8") as log:
            print(log.read())
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main():
    with tempfile.TemporaryDirectory(dir=os.environ.get("DRAFT_TMP")) as work:
        prefix = os.path.join(work, "prefix")
        run("cmake", "--install", os.environ["DRAFT_BUILD"], "--prefix", prefix)
        for name in ("share/doc/draft/NOTICE", "share/doc/draft/LICENSE", "bin/dctl"):
            assert os.path.exists(os.path.join(prefix, name)), f"{name} is not installed"
        shutil.copytree(os.path.join(HERE, "service"), os.path.join(work, "service"))
        for build, talk in ((with_cmake, greet), (with_pkg_config, greet),
                            (crud, create_and_read)):
            print(build.__name__, flush=True)
            call(build(prefix, work), work, talk)


main()
