/* The one table of commands and options. */
#include "dctl.h"

static const char *const formats[] = {"table", "json", "yaml", NULL};

const struct dctl_option dctl_global_options[] = {
    {"output", 'o', DCTL_CHOICE, "FORMAT", "How results are printed: table (default), json, yaml.",
     formats, false},
    {"endpoint", 0, DCTL_STRING, "HOST:PORT[,…]",
     "Where the platform listens; else DRAFT_ENDPOINT, the context's, 127.0.0.1:2221.", NULL,
     false},
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

static const struct dctl_option call_options[] = {
    {"data", 'd', DCTL_STRING, "JSON",
     "The request; several for a stream; @FILE, or - for standard input.", NULL, true},
    {"service", 's', DCTL_STRING, "NAME",
     "Call the processes registered under this name instead of the endpoint.", NULL, false},
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
