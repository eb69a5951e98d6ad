/* Many Delta xDS clients that acknowledge everything at once, and one registered process whose health
 * goes up and down: what `./dev bench routes` measures Fuse with.
 *
 * Commands on standard input, one answer each (JSON):
 *   sync          wait until every client has an answer for every name it asked for
 *   health 0|1    report, then wait until every client has acknowledged one more response
 *   mark, await   the same in two steps, for changes made elsewhere
 * Times are Unix nanoseconds: before the first byte of the report, after the last byte of the ACKs.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../load/h2_stream.h"
#include "core/registry/service_discovery/v1/service_discovery.pb-c.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"

enum { SENT_MAX = 4 * 1024 * 1024, WAIT_S = 60 };

struct client {
    struct h2_stream *stream;
    unsigned answered;  /* names, counted once each */
    unsigned responses; /* since the mark */
};
static struct {
    const char *fuse, *blueprint, *type, *group, *prefix, *pid, *token, *advertise;
    unsigned n_clients, n_names;
} args = {.group = "bench", .n_clients = 1, .n_names = 1};
static struct client *clients;
static struct h2_stream *registry;
static unsigned marked, synced; /* clients that got a response, or all names */
static uint64_t acked_ns, received_at_mark;

static uint64_t unix_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "xds_load: %s\n", what);
    exit(1);
}

static void send_message(struct h2_stream *stream, const ProtobufCMessage *message)
{
    static uint8_t bytes[SENT_MAX];
    if (protobuf_c_message_get_packed_size(message) > sizeof bytes) {
        fail("a request is too large");
    }
    h2_stream_send(stream, bytes, protobuf_c_message_pack(message, bytes));
}

static void on_response(struct h2_stream *stream, const uint8_t *bytes, size_t len, void *data)
{
    struct client *c = data;
    Envoy__Service__Discovery__V3__DeltaDiscoveryResponse *response =
        envoy__service__discovery__v3__delta_discovery_response__unpack(NULL, len, bytes);
    if (response == NULL) {
        fail("a response cannot be decoded");
    }
    Envoy__Service__Discovery__V3__DeltaDiscoveryRequest ack =
        ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
    ack.type_url = response->type_url;
    ack.response_nonce = response->nonce;
    send_message(stream, &ack.base);
    acked_ns = unix_ns();
    if (c->answered < args.n_names) {
        c->answered += (unsigned)(response->n_resources + response->n_removed_resources);
        synced += c->answered >= args.n_names;
    }
    marked += c->responses++ == 0;
    envoy__service__discovery__v3__delta_discovery_response__free_unpacked(response, NULL);
}

static void on_cluster(struct h2_stream *stream, const uint8_t *bytes, size_t len, void *data)
{
}

static void subscribe(struct client *c, unsigned number)
{
    char id[64], **names = calloc(args.n_names, sizeof *names);
    Envoy__Config__Core__V3__Node node = ENVOY__CONFIG__CORE__V3__NODE__INIT;
    Envoy__Service__Discovery__V3__DeltaDiscoveryRequest request =
        ENVOY__SERVICE__DISCOVERY__V3__DELTA_DISCOVERY_REQUEST__INIT;
    snprintf(id, sizeof id, "bench-%u", number);
    node.id = id;
    node.cluster = (char *)(uintptr_t)args.group;
    for (unsigned i = 0; i < args.n_names; i++) {
        names[i] = malloc(strlen(args.prefix) + 16);
        sprintf(names[i], args.n_names == 1 ? "%s" : "%s%05u", args.prefix, i);
    }
    request.node = &node;
    request.type_url = (char *)(uintptr_t)args.type;
    request.n_resource_names_subscribe = args.n_names;
    request.resource_names_subscribe = names;
    c->stream = h2_stream_open(args.fuse,
                               "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
                               "DeltaAggregatedResources",
                               on_response, c);
    send_message(c->stream, &request.base);
    for (unsigned i = 0; i < args.n_names; i++) {
        free(names[i]);
    }
    free(names);
}

static void report(bool healthy)
{
    Core__Registry__ServiceDiscovery__V1__ClientDetails details =
        CORE__REGISTRY__SERVICE_DISCOVERY__V1__CLIENT_DETAILS__INIT;
    details.pid = (char *)(uintptr_t)args.pid;
    details.token = (char *)(uintptr_t)args.token;
    details.advertise_address = (char *)(uintptr_t)args.advertise;
    details.process_kind = 1;
    details.running_state = 3;
    details.health_state = healthy ? 1 : 2;
    send_message(registry, &details.base);
}

static void mark(void)
{
    marked = 0;
    received_at_mark = h2_streams_received();
    for (unsigned i = 0; i < args.n_clients; i++) {
        clients[i].responses = 0;
    }
}

static void wait_until(const unsigned *count)
{
    uint64_t end = unix_ns() + WAIT_S * 1000000000ULL;
    while (*count < args.n_clients) {
        h2_streams_poll(100);
        if (unix_ns() > end) {
            fail("no answer");
        }
    }
}

static void command(const char *line)
{
    uint64_t sent_ns = 0;
    if (strncmp(line, "sync", 4) == 0) {
        wait_until(&synced);
    } else if (strncmp(line, "mark", 4) == 0) {
        h2_streams_poll(0);
        mark();
    } else if (strncmp(line, "await", 5) == 0) {
        wait_until(&marked);
    } else if (strncmp(line, "health ", 7) == 0) {
        mark();
        sent_ns = unix_ns();
        report(line[7] == '1');
        wait_until(&marked);
    } else {
        fail("unknown command");
    }
    printf("{\"sent_ns\": %llu, \"acked_ns\": %llu, \"bytes\": %llu}\n",
           (unsigned long long)sent_ns, (unsigned long long)acked_ns,
           (unsigned long long)(h2_streams_received() - received_at_mark));
    fflush(stdout);
}

static void parse(int argc, char **argv)
{
    const struct {
        const char *name;
        const char **text;
        unsigned *number;
    } table[] = {
        {"--fuse", &args.fuse, NULL},         {"--blueprint", &args.blueprint, NULL},
        {"--type", &args.type, NULL},         {"--group", &args.group, NULL},
        {"--name", &args.prefix, NULL},       {"--pid", &args.pid, NULL},
        {"--token", &args.token, NULL},       {"--advertise", &args.advertise, NULL},
        {"--clients", NULL, &args.n_clients}, {"--names", NULL, &args.n_names},
    };
    for (int i = 1; i + 1 < argc; i += 2) {
        size_t k = 0;
        while (k < sizeof table / sizeof table[0] && strcmp(argv[i], table[k].name) != 0) {
            k++;
        }
        if (k == sizeof table / sizeof table[0]) {
            fail("unknown option");
        } else if (table[k].text != NULL) {
            *table[k].text = argv[i + 1];
        } else {
            *table[k].number = (unsigned)atoi(argv[i + 1]);
        }
    }
    if (args.fuse == NULL || args.type == NULL || args.prefix == NULL) {
        fail("--fuse, --type and --name are needed");
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    if (args.blueprint != NULL) {
        registry = h2_stream_open(
            args.blueprint,
            "/core.registry.service_discovery.v1.ServiceDiscoveryService/Synchronize", on_cluster,
            NULL);
        report(true);
    }
    clients = calloc(args.n_clients, sizeof *clients);
    for (unsigned i = 0; i < args.n_clients; i++) {
        subscribe(&clients[i], i);
        h2_streams_poll(0);
    }
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        command(line);
    }
    return 0;
}
