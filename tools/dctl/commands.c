/* The one table of commands and options. */
#include "dctl.h"

static const char *const formats[] = {"table", "json", "yaml", NULL};

const struct dctl_option dctl_global_options[] = {
    {"output", 'o', DCTL_CHOICE, "FORMAT", "How results are printed: table (default), json, yaml.",
     formats, false},
    {"endpoint", 0, DCTL_STRING, "HOST:PORT[,…]",
     "Where the platform listens; else DRAFT_ENDPOINT, the context's, 127.0.0.1:2221. For events: "
     "where Catalyst does; else DRAFT_EVENTS_ENDPOINT, the context's, who is registered as "
     "catalyst, 127.0.0.1:2220. For routes and proxies: where Fuse does; else "
     "DRAFT_ROUTES_ENDPOINT, the context's, who is registered as fuse, 127.0.0.1:18000.",
     NULL, false},
    {"context", 0, DCTL_STRING, "NAME",
     "The project to act for; else the nearest draft.yaml upward, then the default context.", NULL,
     false},
    {"timeout", 0, DCTL_DURATION, "TIME",
     "Give up after this long: 500ms, 5s, 2m (10s; watches and streams: none).", NULL, false},
    {"ca", 0, DCTL_FILE, "FILE", "PEM certificates to trust; turns TLS on.", NULL, false},
    {"cert", 0, DCTL_FILE, "FILE", "PEM certificate of this client.", NULL, false},
    {"key", 0, DCTL_FILE, "FILE", "PEM key of this client.", NULL, false},
    {"server-name", 0, DCTL_STRING, "NAME", "Name to expect in the server's certificate.", NULL,
     false},
    {"token-file", 0, DCTL_FILE, "FILE", "Token to send, as a registered process.", NULL, false},
    {"cluster-secret", 0, DCTL_FILE, "FILE", "Prove operator rights with the cluster's secret.",
     NULL, false},
    {"help", 'h', DCTL_FLAG, NULL, "Help for a command or a group.", NULL, false},
    {0},
};

#define TYPE                                                                                       \
    {                                                                                              \
        "type", 't', DCTL_STRING, "TYPE",                                                          \
            "Message type of the value (core.registry.key_value.v1.Value).", NULL, false           \
    }
#define STALE                                                                                      \
    {                                                                                              \
        "stale", 0, DCTL_FLAG, NULL, "Answer from the node asked, which may lag behind.", NULL,    \
            false                                                                                  \
    }
#define AT                                                                                         \
    {                                                                                              \
        "at", 0, DCTL_NUMBER, "REVISION", "As it was at this revision.", NULL, false               \
    }
#define LEASE                                                                                      \
    {                                                                                              \
        "lease", 0, DCTL_STRING, "PID", "The record goes when this registered process does.",      \
            NULL, false                                                                            \
    }
#define EXPECT                                                                                     \
    {                                                                                              \
        "expect", 0, DCTL_NUMBER, "REVISION",                                                      \
            "Only if the record is at this revision; 0 = does not exist.", NULL, false             \
    }

static const struct dctl_option kv_set_options[] = {TYPE, EXPECT, LEASE, {0}};
static const struct dctl_option kv_get_options[] = {TYPE, STALE, AT, {0}};
static const struct dctl_option kv_del_options[] = {TYPE, EXPECT, {0}};
static const struct dctl_option kv_cas_options[] = {TYPE, LEASE, {0}};
static const struct dctl_option kv_list_options[] = {
    TYPE,
    STALE,
    AT,
    {"limit", 'n', DCTL_NUMBER, "COUNT", "At most this many records (all).", NULL, false},
    {"page", 0, DCTL_NUMBER, "COUNT", "Records asked for at a time (500).", NULL, false},
    {"keys", 0, DCTL_FLAG, NULL, "Only the keys.", NULL, false},
    {0},
};
static const struct dctl_option kv_watch_options[] = {
    TYPE,
    {"from", 0, DCTL_NUMBER, "REVISION", "Begin with changes at this revision.", NULL, false},
    {"previous", 0, DCTL_FLAG, NULL, "Also show the value before each change.", NULL, false},
    {"count", 'n', DCTL_NUMBER, "COUNT", "Stop after this many changes.", NULL, false},
    {0},
};
static const struct dctl_option kv_txn_options[] = {
    TYPE,
    {"if", 0, DCTL_STRING, "CONDITION",
     "'KEY exists', 'KEY missing', 'KEY revision N', 'KEY version N' or 'KEY value TEXT'.", NULL,
     true},
    {"then", 0, DCTL_STRING, "OPERATION", "'set KEY VALUE', 'del KEY' or 'get KEY'.", NULL, true},
    {"else", 0, DCTL_STRING, "OPERATION", "The same, done when a condition does not hold.", NULL,
     true},
    {"file", 'f', DCTL_FILE, "FILE", "A TxnRequest as JSON instead; - = standard input.", NULL,
     false},
    {0},
};

#define BY_NAME                                                                                    \
    {                                                                                              \
        "name", 0, DCTL_STRING, "NAME", "Only processes of this service.", NULL, false             \
    }
#define BY_GROUP                                                                                   \
    {                                                                                              \
        "group", 0, DCTL_STRING, "GROUP", "Only processes of this group.", NULL, false             \
    }
#define BY_RPC                                                                                     \
    {                                                                                              \
        "rpc", 0, DCTL_STRING, "SERVICE",                                                          \
            "Only processes that serve this RPC service, such as examples.echo.v1.EchoService.",   \
            NULL, false                                                                            \
    }

static const struct dctl_option services_list_options[] = {BY_NAME, BY_GROUP, BY_RPC, {0}};
static const struct dctl_option services_watch_options[] = {
    BY_NAME, BY_GROUP,
    BY_RPC,  {"count", 'n', DCTL_NUMBER, "COUNT", "Stop after this many changes.", NULL, false},
    {0},
};

/* --- events --- */

#define FILTERS                                                                                    \
    {"source",                                                                                     \
     0,                                                                                            \
     DCTL_STRING,                                                                                  \
     "TEXT",                                                                                       \
     "Only events of this source; TEXT* = begins with, *TEXT = ends with; several: any.",          \
     NULL,                                                                                         \
     true},                                                                                        \
        {"type", 't', DCTL_STRING, "TEXT", "The same for the type.", NULL, true},                  \
        {"subject", 0, DCTL_STRING, "TEXT", "The same for the subject.", NULL, true},              \
    {                                                                                              \
        "sql", 0, DCTL_STRING, "EXPRESSION",                                                       \
            "CloudEvents SQL that must be true: \"subject = 'eu' AND type LIKE 'order.%'\".",      \
            NULL, false                                                                            \
    }
#define QUIET                                                                                      \
    {                                                                                              \
        "quiet", 'q', DCTL_FLAG, NULL, "Do not print each of them.", NULL, false                   \
    }
#define COUNT_EVENTS                                                                               \
    {                                                                                              \
        "count", 'n', DCTL_NUMBER, "COUNT", "Stop after this many events.", NULL, false            \
    }
#define FROM                                                                                       \
    {                                                                                              \
        "from", 0, DCTL_STRING, "PLACE",                                                           \
            "new (default), earliest, a sequence, an RFC 3339 time, or how long ago (10m).", NULL, \
            false                                                                                  \
    }
#define DESCRIPTION                                                                                \
    {                                                                                              \
        "description", 0, DCTL_STRING, "TEXT", "For people.", NULL, false                          \
    }

#define CONFIG_FILE                                                                                \
    {                                                                                              \
        "file", 'f', DCTL_FILE, "FILE",                                                            \
            "A configuration as JSON, or what `get -o json` printed; options count before it; "    \
            "- = standard input.",                                                                 \
            NULL, false                                                                            \
    }

static const char *const durabilities[] = {"fsync", "interval", "memory", NULL};
static const char *const when_full[] = {"discard-old", "refuse-new", NULL};
static const char *const answers[] = {"ack", "nack", "term", "none", NULL};

static const struct dctl_option produce_options[] = {
    {"type", 't', DCTL_STRING, "TYPE",
     "Type of the events; the input is then their data instead of whole events.", NULL, false},
    {"source", 0, DCTL_STRING, "SOURCE", "Source, where the input names none (/dctl).", NULL,
     false},
    {"subject", 0, DCTL_STRING, "SUBJECT", "Subject, where the input names none.", NULL, false},
    {"id", 0, DCTL_STRING, "ID", "Id of the event (a UUID each).", NULL, false},
    {"extension", 'x', DCTL_STRING, "NAME=VALUE", "A further attribute.", NULL, true},
    {"content-type", 0, DCTL_STRING, "TYPE",
     "Of the data (application/json if it is JSON, else text/plain).", NULL, false},
    {"data", 'd', DCTL_STRING, "JSON", "As the argument; @FILE, or - for standard input.", NULL,
     true},
    {"stream", 's', DCTL_STRING, "NAME", "The stream (wherever the rules of streams say).", NULL,
     false},
    {"count", 'n', DCTL_NUMBER, "COUNT", "Send what was given this many times.", NULL, false},
    {"batch", 0, DCTL_NUMBER, "COUNT", "Events sent and acknowledged together, 1 to 1000 (1).",
     NULL, false},
    QUIET,
    {0},
};
static const struct dctl_option consume_options[] = {
    FILTERS,
    FROM,
    {"group", 'g', DCTL_STRING, "GROUP",
     "As a member of this group, made from the other options if it is not there.", NULL, false},
    {"member", 0, DCTL_STRING, "NAME", "Name in the group (the address).", NULL, false},
    {"answer", 0, DCTL_CHOICE, "ANSWER",
     "Of a member, after an event was printed: ack (default), nack, term, none.", answers, false},
    {"delay", 0, DCTL_DURATION, "TIME", "With nack: until the next delivery.", NULL, false},
    {"reason", 0, DCTL_STRING, "TEXT", "With nack and term: kept in the dead letter.", NULL, false},
    {"until-end", 0, DCTL_FLAG, NULL, "Stop at what is stored now.", NULL, false},
    COUNT_EVENTS,
    QUIET,
    {0},
};
static const struct dctl_option tail_options[] = {
    FILTERS,
    {"lines", 'l', DCTL_NUMBER, "COUNT", "Begin with those of the last COUNT events (10).", NULL,
     false},
    COUNT_EVENTS,
    QUIET,
    {0},
};
#define STREAM_CONFIG                                                                              \
    {"take",                                                                                       \
     0,                                                                                            \
     DCTL_STRING,                                                                                  \
     "RULE",                                                                                       \
     "type=…,source=…,subject=…: events the stream takes; '*' one token, '>' the rest.",           \
     NULL,                                                                                         \
     true},                                                                                        \
        {"durability",                                                                             \
         0,                                                                                        \
         DCTL_CHOICE,                                                                              \
         "HOW",                                                                                    \
         "When an event is acknowledged: fsync (default), interval, memory.",                      \
         durabilities,                                                                             \
         false},                                                                                   \
        {"interval", 0, DCTL_DURATION, "TIME", "Of --durability interval (100ms).", NULL, false},  \
        {"max-age", 0, DCTL_DURATION, "TIME", "Older events go.", NULL, false},                    \
        {"max-bytes", 0, DCTL_SIZE, "SIZE", "Of all events.", NULL, false},                        \
        {"max-events", 0, DCTL_NUMBER, "COUNT", "Of all events.", NULL, false},                    \
        {"max-event", 0, DCTL_SIZE, "SIZE", "Of one event (1MiB).", NULL, false},                  \
        {"when-full", 0,    DCTL_CHOICE, "WHAT", "discard-old (default) or refuse-new.",           \
         when_full,   false},                                                                      \
        {"dedupe",                                                                                 \
         0,                                                                                        \
         DCTL_DURATION,                                                                            \
         "TIME",                                                                                   \
         "How long the same source and id are stored once (2m; 0 = off).",                         \
         NULL,                                                                                     \
         false},                                                                                   \
        DESCRIPTION, CONFIG_FILE

static const struct dctl_option streams_create_options[] = {
    STREAM_CONFIG,
    {"backend", 0, DCTL_STRING, "ENGINE", "journal (default), nats or kafka.", NULL, false},
    {0},
};
static const struct dctl_option streams_update_options[] = {STREAM_CONFIG, {0}};
static const struct dctl_option streams_purge_options[] = {
    {"before", 0, DCTL_NUMBER, "SEQUENCE", "Only events before this sequence.", NULL, false},
    {"keep", 0, DCTL_NUMBER, "COUNT", "Keep the newest COUNT events.", NULL, false},
    {0},
};
#define GROUP_CONFIG                                                                                \
    {"ack-wait", 0,    DCTL_DURATION, "TIME", "Deliver again what was not answered within (30s).",  \
     NULL,       false},                                                                            \
        {"deliveries", 0,    DCTL_NUMBER, "COUNT", "Before an event becomes a dead letter (5).",    \
         NULL,         false},                                                                      \
        {"in-flight", 0, DCTL_NUMBER, "COUNT", "Deliveries not yet answered (1024).", NULL, false}, \
        {"backoff", 0,    DCTL_STRING, "TIME,…", "Waits before the second, third … delivery.",      \
         NULL,      false},                                                                         \
        {"ordered", 0,    DCTL_FLAG, NULL, "One at a time per partitionkey, else per subject.",     \
         NULL,      false},                                                                         \
        {"dead-letters", 0,    DCTL_STRING, "STREAM", "Where dead letters go (STREAM.GROUP.dead).", \
         NULL,           false},                                                                    \
        {"push", 0,    DCTL_STRING, "URL", "POST the events there instead of waiting for members.", \
         NULL,   false},                                                                            \
        {"push-structured", 0, DCTL_FLAG, NULL, "Structured mode instead of binary.", NULL, false}, \
        {"push-secret", 0,    DCTL_STRING, "NAME", "Secret of the broker, sent as bearer token.",   \
         NULL,          false},                                                                     \
        {"push-timeout", 0, DCTL_DURATION, "TIME", "Of one request (10s).", NULL, false},           \
        {"push-concurrency", 0, DCTL_NUMBER, "COUNT", "Requests at a time (16).", NULL, false},     \
        {"push-rate",                                                                               \
         0,                                                                                         \
         DCTL_NUMBER,                                                                               \
         "COUNT",                                                                                   \
         "Requests per minute (as many as the endpoint allows).",                                   \
         NULL,                                                                                      \
         false},                                                                                    \
        DESCRIPTION, CONFIG_FILE

/* clang-format off: one option a line */
static const struct dctl_option groups_create_options[] = {
    FILTERS,
    FROM,
    GROUP_CONFIG,
    {0},
};
static const struct dctl_option groups_update_options[] = {FILTERS, GROUP_CONFIG, {0}};
/* clang-format on */
static const struct dctl_option dlq_peek_options[] = {
    {"limit", 'n', DCTL_NUMBER, "COUNT", "At most this many, 1 to 1000 (100).", NULL, false},
    {"from", 0, DCTL_NUMBER, "SEQUENCE", "Begin at this sequence of the dead letters.", NULL,
     false},
    {0},
};
static const struct dctl_option dlq_purge_options[] = {
    {"through", 0, DCTL_NUMBER, "SEQUENCE", "Only those up to this sequence.", NULL, false},
    {0},
};

/* --- routes --- */

#define ROUTE                                                                                        \
    {"file",                                                                                         \
     'f',                                                                                            \
     DCTL_FILE,                                                                                      \
     "FILE",                                                                                         \
     "Routes as YAML (several documents) or JSON instead; - = standard input.",                      \
     NULL,                                                                                           \
     false},                                                                                         \
        {"host",                                                                                     \
         0,                                                                                          \
         DCTL_STRING,                                                                                \
         "HOST",                                                                                     \
         "Only requests for it: a name, *.suffix, or * (default).",                                  \
         NULL,                                                                                       \
         false},                                                                                     \
        {"prefix", 0, DCTL_STRING, "PATH", "Paths that begin so.", NULL, false},                     \
        {"path", 0, DCTL_STRING, "PATH", "Exactly this path.", NULL, false},                         \
        {"regex", 0, DCTL_STRING, "REGEX", "Paths that match as a whole.", NULL, false},             \
        {"grpc", 0,    DCTL_STRING, "SERVICE[/METHOD]", "gRPC calls of it; sets --http2.",           \
         NULL,   false},                                                                             \
        {"method", 0, DCTL_STRING, "METHOD", "Only GET, POST, …; several: any.", NULL, true},        \
        {"header", 'H', DCTL_STRING, "NAME[: VALUE]", "Only with this request header.", NULL, true}, \
        {"service",                                                                                  \
         's',                                                                                        \
         DCTL_STRING,                                                                                \
         "NAME[=WEIGHT]",                                                                            \
         "To the instances registered under this name; several share by weight (1).",                \
         NULL,                                                                                       \
         true},                                                                                      \
        {"address", 0, DCTL_STRING, "HOST:PORT[=WEIGHT]", "To a fixed address.", NULL, true},        \
        {"http2", 0, DCTL_FLAG, NULL, "Speak HTTP/2 to the targets (gRPC does).", NULL, false},      \
        {"priority", 0, DCTL_STRING, "N", "Higher goes first: -1000 to 1000 (0).", NULL, false},     \
        {"rewrite", 0, DCTL_STRING, "PATH", "Replaces the matched prefix or path.", NULL, false},    \
        {"request-timeout", 0, DCTL_DURATION, "TIME", "Of a whole request (none).", NULL, false},    \
        {"group", 0, DCTL_STRING, "GROUP", "Only for proxies of this node group.", NULL, true},      \
    {                                                                                                \
        "listener", 0, DCTL_STRING, "NAME", "Only on this listener.", NULL, true                     \
    }

/* clang-format off: one option a line */
static const struct dctl_option routes_add_options[] = {
    ROUTE,
    {"expect", 0, DCTL_NUMBER, "VERSION", "Only if the route is at this version; 0 = is new.", NULL,
     false},
    {"dry-run", 0, DCTL_FLAG, NULL, "Change nothing: say what Fuse would, and what would differ.",
     NULL, false},
    {0},
};
static const struct dctl_option routes_validate_options[] = {ROUTE, {0}};
static const struct dctl_option routes_history_options[] = {
    {"limit", 'n', DCTL_NUMBER, "COUNT", "At most this many (all that are kept).", NULL, false},
    {0},
};
static const struct dctl_option routes_explain_options[] = {
    {"header", 'H', DCTL_STRING, "NAME: VALUE", "A header of the request.", NULL, true},
    {"group", 0, DCTL_STRING, "GROUP", "As proxies of this node group see it.", NULL, false},
    {"listener", 0, DCTL_STRING, "NAME", "As it comes in on this listener (default).", NULL, false},
    {0},
};
/* clang-format on */

static const struct dctl_option call_options[] = {
    {"data", 'd', DCTL_STRING, "JSON",
     "The request; several for a stream; @FILE, or - for standard input.", NULL, true},
    {"service", 's', DCTL_STRING, "NAME",
     "Call the processes registered under this name instead of the endpoint.", NULL, false},
    {"through", 0, DCTL_STRING, "HOST:PORT",
     "Send the call there, such as the entry port of a proxy; the method is described by the "
     "service "
     "or the endpoint.",
     NULL, false},
    {"header", 'H', DCTL_STRING, "KEY: VALUE", "Metadata to send.", NULL, true},
    {"list", 'l', DCTL_FLAG, NULL, "List services, or the methods of SERVICE.", NULL, false},
    {0},
};

static const struct dctl_option context_options[] = {
    {"name", 0, DCTL_STRING, "NAME", "Name of the context (the folder's name).", NULL, false},
    {0},
};

static const struct dctl_option run_options[] = {
    {"file", 'f', DCTL_FILE, "FILE", "What to run (the nearest draft.yaml upward).", NULL, false},
    {"services", 0, DCTL_STRING, "A,B", "Only these services.", NULL, false},
    {"domains", 0, DCTL_STRING, "A,B", "Only the services of these domains.", NULL, false},
    {"ready-file", 0, DCTL_FILE, "FILE", "Made when every service is healthy, removed at the end.",
     NULL, false},
    {0},
};

/* clang-format off: one command per pair of lines */
const struct dctl_command dctl_commands[] = {
    {"kv set", "KEY VALUE", "Store a value.",
     "VALUE is text, or with --type the JSON of that message; @FILE reads a file, - standard "
     "input.",
     2, 2, kv_set_options, dctl_kv_set},
    {"kv get", "KEY", "Print a value.",
     "A plain text value is printed alone; a message as JSON. -o json adds revision and time.", 1,
     1, kv_get_options, dctl_kv_get},
    {"kv del", "KEY", "Delete a record.", NULL, 1, 1, kv_del_options, dctl_kv_del},
    {"kv list", "[PREFIX]", "List the records of one type.", NULL, 0, 1, kv_list_options,
     dctl_kv_list},
    {"kv watch", "[PREFIX]", "Print changes as they happen.",
     "After a broken connection it goes on where it stood; nothing is left out or shown twice.", 0,
     1, kv_watch_options, dctl_kv_watch},
    {"kv cas", "KEY REVISION VALUE", "Store a value only if the record is at REVISION.",
     "REVISION 0 means: must not exist. Exit code 1 when it is at another revision.", 3, 3,
     kv_cas_options, dctl_kv_cas},
    {"kv txn", "", "Several operations at one revision, under conditions.",
     "dctl kv txn --if 'a exists' --then 'set b 2' --then 'del a' --else 'get a'\n"
     "The exit code is 0 whichever branch was taken; -o json tells which.",
     0, 0, kv_txn_options, dctl_kv_txn},
    {"services list", "", "List registered processes.", NULL, 0, 0, services_list_options,
     dctl_services_list},
    {"services get", "NAME|PID", "Show one process, or all of a service.", NULL, 1, 1, NULL,
     dctl_services_get},
    {"services watch", "", "Print processes as they come, change and go.", NULL, 0, 0,
     services_watch_options, dctl_services_watch},
    {"cluster status", "", "Nodes of the cluster and who leads.", NULL, 0, 0, NULL,
     dctl_cluster_status},
    {"cluster transfer", "[NODE]", "Hand leadership to NODE, or to the most advanced follower.",
     NULL, 0, 1, NULL, dctl_cluster_transfer},
    {"cluster backup", "FILE", "Write the whole replicated state to FILE.",
     "The file is complete and checked when it has its name. `blueprint --restore FILE` starts a\n"
     "new cluster from it.",
     1, 1, NULL, dctl_cluster_backup},
    {"events produce", "[EVENT]", "Publish events; each is acknowledged when it is durable.",
     "EVENT is a CloudEvent as JSON (or a list of them), or with --type the data of one; @FILE\n"
     "reads a file. Without any, standard input is read line by line.\n"
     "dctl events produce --type order.placed --source /shop '{\"amount\":5}'\n"
     "dctl events consume orders -o json --until-end | dctl events produce --stream copy",
     0, 1, produce_options, dctl_events_produce},
    {"events consume", "[STREAM]", "Print events of a stream (default) as they are stored.",
     "After a broken connection it goes on where it stood. With --group each event goes to one\n"
     "member and is acknowledged after it was printed.",
     0, 1, consume_options, dctl_events_consume},
    {"events tail", "[STREAM]", "Print the last events of a stream and those that follow.", NULL, 0,
     1, tail_options, dctl_events_tail},
    {"streams create", "NAME", "Make a stream.",
     "dctl streams create orders --take 'type=order.>' --max-age 7d\n"
     "dctl streams get orders -o json | dctl streams create copy -f -\n"
     "Making the same stream again is no error.",
     1, 1, streams_create_options, dctl_streams_create},
    {"streams list", "[PREFIX]", "List streams.", NULL, 0, 1, NULL, dctl_streams_list},
    {"streams get", "NAME", "Show a stream.", NULL, 1, 1, NULL, dctl_streams_get},
    {"streams update", "NAME", "Change what a stream takes and keeps.",
     "What is not given stays; --take replaces all rules.", 1, 1, streams_update_options,
     dctl_streams_update},
    {"streams purge", "NAME", "Remove events from the front of a stream.",
     "Without an option: all events.", 1, 1, streams_purge_options, dctl_streams_purge},
    {"streams delete", "NAME", "Remove a stream, its events and its groups.", NULL, 1, 1, NULL,
     dctl_streams_delete},
    {"groups list", "[STREAM]", "List groups and how far they are.", NULL, 0, 1, NULL,
     dctl_groups_list},
    {"groups get", "[STREAM/]GROUP", "Show a group and its members.", NULL, 1, 1, NULL,
     dctl_groups_get},
    {"groups create", "[STREAM/]GROUP", "Make a group: a durable place its members share.", NULL, 1,
     1, groups_create_options, dctl_groups_create},
    {"groups update", "[STREAM/]GROUP", "Change a group while it is used.",
     "What is not given stays; filters replace all filters. A pushed group whose endpoint was "
     "gone\n"
     "is tried again.",
     1, 1, groups_update_options, dctl_groups_update},
    {"groups seek", "[STREAM/]GROUP PLACE", "Move a group; what is in flight is forgotten.",
     "PLACE is new, earliest, a sequence, an RFC 3339 time, or how long ago (10m).", 2, 2, NULL,
     dctl_groups_seek},
    {"groups delete", "[STREAM/]GROUP", "Remove a group.", NULL, 1, 1, NULL, dctl_groups_delete},
    {"dlq list", "[STREAM]", "List groups that have dead letters.", NULL, 0, 1, NULL,
     dctl_dlq_list},
    {"dlq peek", "[STREAM/]GROUP", "Print dead letters of a group and why they are.", NULL, 1, 1,
     dlq_peek_options, dctl_dlq_peek},
    {"dlq replay", "[STREAM/]GROUP [SEQUENCE…]", "Put dead letters before their group again.",
     "Without a SEQUENCE: all of them.", 1, 10001, NULL, dctl_dlq_replay},
    {"dlq purge", "[STREAM/]GROUP", "Remove dead letters.", NULL, 1, 1, dlq_purge_options,
     dctl_dlq_purge},
    {"routes add", "[NAME]", "Create or replace routes.",
     "dctl routes add api --prefix /api/ --service shop=90 --service shop-next=10\n"
     "dctl routes get api -o yaml > api.yaml; dctl routes add -f api.yaml\n"
     "Warnings and what is wrong are told with the name of the field. Each route stands alone:\n"
     "of a file, those that are accepted are in force.",
     0, 1, routes_add_options, dctl_routes_add},
    {"routes list", "", "List routes.", NULL, 0, 0, NULL, dctl_routes_list},
    {"routes get", "NAME", "Show a route, its targets now, and where it is quarantined.", NULL, 1,
     1, NULL, dctl_routes_get},
    {"routes delete", "NAME", "Delete a route; its versions stay.", NULL, 1, 1, NULL,
     dctl_routes_delete},
    {"routes history", "NAME", "Versions of a route, newest first; of deleted ones, too.", NULL, 1,
     1, routes_history_options, dctl_routes_history},
    {"routes diff", "NAME [FROM [TO]]", "What is different between two versions.",
     "Without versions: the newest and the one before it.", 1, 3, NULL, dctl_routes_diff},
    {"routes rollback", "NAME [VERSION]", "Bring back an older version, as a new one.",
     "Without VERSION: the one before the newest. A deleted route comes back.", 1, 2, NULL,
     dctl_routes_rollback},
    {"routes explain", "[METHOD] URL", "Which route a request takes, which not, why, and where to.",
     "dctl routes explain GET https://shop.example.com/api/orders -H 'x-user: me'\n"
     "Nothing is sent. Exit code 3 when no route takes it.",
     1, 2, routes_explain_options, dctl_routes_explain},
    {"routes validate", "[NAME]", "What routes add would say; changes nothing.", NULL, 0, 1,
     routes_validate_options, dctl_routes_validate},
    {"proxies list", "", "List proxies and gRPC clients, and what they acknowledged.", NULL, 0, 0,
     NULL, dctl_proxies_list},
    {"proxies get", "ID", "Show what a proxy has, type by type.", NULL, 1, 1, NULL,
     dctl_proxies_get},
    {"call", "[SERVICE[/METHOD]]", "Call any method, described by the server itself.",
     "dctl call examples.echo.v1.EchoService/Speak -d '{\"input\":\"hi\"}'\n"
     "The service may be shortened as long as one name fits: echo/Speak is looked up by "
     "reflection.",
     0, 1, call_options, dctl_call},
    {"context init", "[DIRECTORY]", "Make a draft.yaml and remember its folder.", NULL, 0, 1,
     context_options, dctl_context_init},
    {"context import", "[DIRECTORY]", "Remember a folder that has a draft.yaml.", NULL, 0, 1,
     context_options, dctl_context_import},
    {"context set", "NAME", "Make a context the default.", NULL, 1, 1, NULL, dctl_context_set},
    {"context list", "", "Contexts and the one in use.", NULL, 0, 0, NULL, dctl_context_list},
    {"run", "", "Run the services of a draft.yaml and show their output.",
     "Each starts when those before it (or named in its `after`) are healthy, is restarted with\n"
     "growing pauses when it ends, and is stopped in reverse order by Ctrl-C.",
     0, 0, run_options, dctl_run},
    {"completion", "bash|zsh|fish", "Print a completion script for a shell.",
     "bash: source <(dctl completion bash)", 1, 1, NULL, dctl_completion_command},
    {"docs", "", "Print the reference of all commands as Markdown.", NULL, 0, 0, NULL, dctl_docs},
    {"version", "", "Print the version.", NULL, 0, 0, NULL, dctl_version},
    {"help", "[COMMAND…]", "Help for a command or a group.", NULL, 0, 2, NULL, dctl_help_command},
    {0},
};
/* clang-format on */
