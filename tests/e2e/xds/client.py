#!/usr/bin/python3
"""gRPC's Python client on a target, xds:///… among them: it reads how many calls to make, a number a
line, and answers "<succeeded> <failed> <last failure>"."""
import sys

import grpc


def main(protos, target):
    sys.path.insert(0, protos)
    from examples.echo.v1 import echo_pb2  # pylint: disable=import-outside-toplevel
    channel = grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])
    speak = channel.unary_unary("/examples.echo.v1.EchoService/Speak",
                                echo_pb2.SpeakRequest.SerializeToString,
                                echo_pb2.SpeakResponse.FromString)
    for line in sys.stdin:
        succeeded, failed, last = 0, 0, ""
        for i in range(int(line)):
            try:
                output = speak(echo_pb2.SpeakRequest(input=str(i)), timeout=10).output
                succeeded += output == str(i)
            except grpc.RpcError as error:
                failed, last = failed + 1, f"{error.code().name} {error.details()}"
        print(succeeded, failed, " ".join(last.split()), flush=True)


main(*sys.argv[1:])
