"""Our xDS contracts as Python messages, made at run time."""
import pathlib
import subprocess

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import processes


def xds_messages():
    """A function that gives the class of a message by its full name."""
    folder = pathlib.Path(processes.workdir("xds-protos"))
    source = pathlib.Path(processes.SOURCE) / "proto"
    names = [str(p.relative_to(source)) for p in (source / "envoy").rglob("*.proto")]
    subprocess.run(["protoc", f"-I{source}", "--include_imports",
                    f"--descriptor_set_out={folder}/set", *names], check=True)
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString((folder / "set").read_bytes())
    for file in files.file:
        pool.Add(file)
    processes.rmtree(folder)
    factory = message_factory.MessageFactory(pool)
    return lambda name: factory.GetPrototype(pool.FindMessageTypeByName(name))
