// The C++ peer of the rpc benchmark: gRPC's asynchronous completion-queue API as its own examples
// recommend it, one queue and one thread (the machine has two cores and the generator needs one),
// protobuf C++ messages on an arena, the deadline read and a count and a duration kept per call, as
// our side does.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <google/protobuf/arena.h>
#include <grpcpp/grpcpp.h>

#include "bench.grpc.pb.h"

using draft::bench::v1::BenchService;
using draft::bench::v1::DownloadRequest;
using draft::bench::v1::Payload;

namespace {

std::atomic<uint64_t> handled_total{0};
std::atomic<uint64_t> duration_buckets[16];

void Observe(std::chrono::steady_clock::time_point began)
{
    auto us = std::chrono::duration_cast<std::chrono::microseconds>(
                  std::chrono::steady_clock::now() - began)
                  .count();
    int bucket = 0;
    for (long bound = 50; bucket < 15 && us > bound; bound *= 2) {
        bucket++;
    }
    duration_buckets[bucket].fetch_add(1, std::memory_order_relaxed);
    handled_total.fetch_add(1, std::memory_order_relaxed);
}

struct Job {
    virtual ~Job() = default;
    virtual void Proceed(bool ok) = 0;
};

class EchoJob final : public Job {
public:
    EchoJob(BenchService::AsyncService *service, grpc::ServerCompletionQueue *queue)
        : service_(service), queue_(queue), responder_(&context_),
          request_(google::protobuf::Arena::CreateMessage<Payload>(&arena_)),
          response_(google::protobuf::Arena::CreateMessage<Payload>(&arena_))
    {
        service_->RequestEcho(&context_, request_, &responder_, queue_, queue_, this);
    }
    void Proceed(bool ok) override
    {
        if (!ok || finished_) {
            delete this;
            return;
        }
        new EchoJob(service_, queue_);
        auto began = std::chrono::steady_clock::now();
        if (context_.deadline() < std::chrono::system_clock::now()) {
            responder_.FinishWithError(grpc::Status(grpc::DEADLINE_EXCEEDED, "late"), this);
        } else {
            response_->set_text(request_->text());
            responder_.Finish(*response_, grpc::Status::OK, this);
        }
        finished_ = true;
        Observe(began);
    }

private:
    BenchService::AsyncService *service_;
    grpc::ServerCompletionQueue *queue_;
    grpc::ServerContext context_;
    grpc::ServerAsyncResponseWriter<Payload> responder_;
    google::protobuf::Arena arena_;
    Payload *request_, *response_;
    bool finished_ = false;
};

class DownloadJob final : public Job {
public:
    DownloadJob(BenchService::AsyncService *service, grpc::ServerCompletionQueue *queue)
        : service_(service), queue_(queue), writer_(&context_)
    {
        service_->RequestDownload(&context_, &request_, &writer_, queue_, queue_, this);
    }
    void Proceed(bool ok) override
    {
        if (!ok || finished_) {
            delete this;
            return;
        }
        if (!started_) {
            started_ = true;
            new DownloadJob(service_, queue_);
            text_.assign(request_.size(), 'x');
        }
        if (next_ == request_.count()) {
            finished_ = true;
            writer_.Finish(grpc::Status::OK, this);
            return;
        }
        Payload payload;
        payload.set_text(text_);
        payload.set_sequence(next_++);
        // One write may be under way in this API; the hint lets the transport gather a burst. Not on
        // the first: a hinted message in one batch with the initial metadata never completes.
        grpc::WriteOptions options;
        if (next_ > 1 && next_ % 64 != 0 && next_ != request_.count()) {
            options.set_buffer_hint();
        }
        writer_.Write(payload, options, this);
    }

private:
    BenchService::AsyncService *service_;
    grpc::ServerCompletionQueue *queue_;
    grpc::ServerContext context_;
    grpc::ServerAsyncWriter<Payload> writer_;
    DownloadRequest request_;
    std::string text_;
    uint64_t next_ = 0;
    bool started_ = false, finished_ = false;
};

} // namespace

int main()
{
    BenchService::AsyncService service;
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    auto queue = builder.AddCompletionQueue();
    auto server = builder.BuildAndStart();
    if (server == nullptr) {
        std::fprintf(stderr, "cpp_async: cannot listen\n");
        return 1;
    }
    for (int i = 0; i < 100; i++) {
        new EchoJob(&service, queue.get());
    }
    new DownloadJob(&service, queue.get());
    std::printf("%d\n", port);
    std::fflush(stdout);
    void *tag;
    bool ok;
    while (queue->Next(&tag, &ok)) {
        static_cast<Job *>(tag)->Proceed(ok);
    }
}
