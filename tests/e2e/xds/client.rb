# gRPC's Ruby client, as client.py.
require "grpc"

$stdout.sync = true
$LOAD_PATH.unshift(ARGV[0])
require "examples/echo/v1/echo_pb"

class Stub
  include GRPC::GenericService
  self.marshal_class_method = :encode
  self.unmarshal_class_method = :decode
  self.service_name = "examples.echo.v1.EchoService"
  rpc :Speak, Examples::Echo::V1::SpeakRequest, Examples::Echo::V1::SpeakResponse
end

stub = Stub.rpc_stub_class.new(ARGV[1], :this_channel_is_insecure)
while (line = $stdin.gets)
  succeeded = failed = 0
  last = ""
  line.to_i.times do |i|
    begin
      request = Examples::Echo::V1::SpeakRequest.new(input: i.to_s)
      succeeded += 1 if stub.speak(request, deadline: Time.now + 10).output == i.to_s
    rescue GRPC::BadStatus => e
      failed += 1
      last = "#{e.code} #{e.details}"
    end
  end
  puts "#{succeeded} #{failed} #{last.split.join(' ')}"
end
