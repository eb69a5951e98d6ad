/* dctl streams create, list, get, update, purge, delete: what the broker keeps. */
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "event.h"

typedef Draft__Events__V1__Stream stream_message;
typedef Draft__Events__V1__StreamConfig stream_config;
typedef Draft__Events__V1__Selection selection;

enum { TAKES_MAX = 64, PAGE = 500 };

static struct chassis_call_options read_options(const struct dctl *d)
{
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    return options;
}

static void print_stream(struct dctl *d, const stream_message *stream)
{
    dctl_print(d, dctl_message_node(&d->arena, stream), NULL);
}

/* "type=order.*,source=/shop": a rule, or CHASSIS_INVALID_ARGUMENT. */
static int parse_rule(struct dctl *d, const char *text, selection *rule)
{
    struct {
        const char *name;
        char **to;
    } fields[] = {{"source", &rule->source}, {"type", &rule->type}, {"subject", &rule->subject}};
    for (const char *p = text; *p != '\0';) {
        size_t len = strcspn(p, ","), name = strcspn(p, "="), i = 0;
        while (i < 3 && (strlen(fields[i].name) != name || strncmp(fields[i].name, p, name) != 0)) {
            i++;
        }
        if (i == 3 || name >= len) {
            return CHASSIS_INVALID_ARGUMENT;
        }
        *fields[i].to = chassis_arena_strndup(&d->arena, p + name + 1, len - name - 1);
        p += len + (p[len] == ',');
    }
    return 0;
}

static int take_rules(struct dctl *d, stream_config *config)
{
    const char *text;
    selection **list = chassis_arena_alloc(&d->arena, TAKES_MAX * sizeof *list);
    size_t n = 0;
    for (; (text = dctl_repeated(d, "take", (unsigned)n)) != NULL; n++) {
        list[n] = chassis_arena_alloc(&d->arena, sizeof *list[n]);
        draft__events__v1__selection__init(list[n]);
        if (n + 1 == TAKES_MAX || parse_rule(d, text, list[n]) != 0) {
            return dctl_usage(
                d, "--take is type=…,source=…,subject=… (each at most once), not '%s'", text);
        }
    }
    if (n != 0) {
        config->takes = list;
        config->n_takes = n;
    }
    return 0;
}

static int choice(const struct dctl *d, const char *name, const char *const *words, int otherwise)
{
    const char *text = dctl_string(d, name);
    for (int i = 0; text != NULL && words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            return i + 1; /* of these enums, 0 is "unspecified" */
        }
    }
    return otherwise;
}

/* Whatever was given over what `config` holds. 0 or the exit code. */
static int apply_options(struct dctl *d, stream_config *config)
{
    static const char *const durabilities[] = {"fsync", "interval", "memory", NULL};
    static const char *const when_full[] = {"discard-old", "refuse-new", NULL};
    const char *description = dctl_string(d, "description");
    config->durability = (Draft__Events__V1__Durability)choice(d, "durability", durabilities,
                                                               (int)config->durability);
    config->when_full =
        (Draft__Events__V1__WhenFull)choice(d, "when-full", when_full, (int)config->when_full);
    config->interval_ms = (uint32_t)dctl_duration_ms(d, "interval", config->interval_ms);
    config->age_max_ms = dctl_duration_ms(d, "max-age", config->age_max_ms);
    config->bytes_max = dctl_size(d, "max-bytes", config->bytes_max);
    config->events_max = dctl_number(d, "max-events", config->events_max);
    config->event_bytes_max = (uint32_t)dctl_size(d, "max-event", config->event_bytes_max);
    if (dctl_string(d, "dedupe") != NULL) {
        config->_dedupe_ms_case = DRAFT__EVENTS__V1__STREAM_CONFIG___DEDUPE_MS_DEDUPE_MS;
        config->dedupe_ms = dctl_duration_ms(d, "dedupe", 0);
    }
    if (description != NULL) {
        config->description = chassis_arena_strdup(&d->arena, description);
    }
    return take_rules(d, config);
}

/* What --file says, if it is given, else what `ret_config` points to. */
static int config_of_file(struct dctl *d, stream_config **ret_config, struct chassis_error *err)
{
    const char *file = dctl_string(d, "file");
    ProtobufCMessage *message;
    int rc = file != NULL
                 ? dctl_message_read(d, file, "config",
                                     &draft__events__v1__stream_config__descriptor, &message, err)
                 : 0;
    if (file != NULL && rc == 0) {
        *ret_config = (stream_config *)(void *)message;
    }
    return rc;
}

int dctl_streams_create(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__CreateStreamRequest req = DRAFT__EVENTS__V1__CREATE_STREAM_REQUEST__INIT;
    Draft__Events__V1__CreateStreamResponse *res;
    stream_config none = DRAFT__EVENTS__V1__STREAM_CONFIG__INIT, *config = &none;
    const char *backend = dctl_string(d, "backend");
    if (config_of_file(d, &config, &err) != 0) {
        return dctl_usage(d, "%s", chassis_error_text(&err));
    }
    config->name = argv[0];
    config->backend = backend != NULL ? chassis_arena_strdup(&d->arena, backend) : config->backend;
    int code = apply_options(d, config);
    if (code != 0) {
        return code;
    }
    req.config = config;
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (dctl_events_client(d, &err) == NULL ||
        events_stream_service_create_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    print_stream(d, res->stream);
    return DCTL_OK;
}

static int get_stream(struct dctl *d, char *name, stream_message **ret, struct chassis_error *err)
{
    Draft__Events__V1__GetStreamRequest req = DRAFT__EVENTS__V1__GET_STREAM_REQUEST__INIT;
    Draft__Events__V1__GetStreamResponse *res;
    struct chassis_call_options options = read_options(d);
    req.name = name;
    if (dctl_events_client(d, err) == NULL) {
        return err->code;
    }
    int rc = events_stream_service_get_sync(d->client, &req, &options, &d->arena, &res, err);
    if (rc == 0) {
        *ret = res->stream;
    }
    return rc;
}

int dctl_streams_get(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    stream_message *stream;
    if (get_stream(d, argv[0], &stream, &err) != 0) {
        return dctl_fail(d, &err);
    }
    print_stream(d, stream);
    return DCTL_OK;
}

int dctl_streams_update(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__UpdateStreamRequest req = DRAFT__EVENTS__V1__UPDATE_STREAM_REQUEST__INIT;
    Draft__Events__V1__UpdateStreamResponse *res;
    stream_message *stream;
    stream_config *config = NULL;
    if (config_of_file(d, &config, &err) != 0) {
        return dctl_usage(d, "%s", chassis_error_text(&err));
    }
    if (config == NULL && get_stream(d, argv[0], &stream, &err) != 0) {
        return dctl_fail(d, &err);
    }
    config = config != NULL ? config : stream->config;
    config->name = argv[0];
    int code = apply_options(d, config);
    if (code != 0) {
        return code;
    }
    req.config = config;
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (dctl_events_client(d, &err) == NULL ||
        events_stream_service_update_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    print_stream(d, res->stream);
    return DCTL_OK;
}

/* The row of a table: what is asked for most, without the nesting. */
static struct dctl_node *row_of(struct dctl *d, const stream_message *s)
{
    struct dctl_node *row = dctl_message_node(&d->arena, s);
    dctl_add_text(&d->arena, row, "name", s->config->name);
    return row;
}

int dctl_streams_list(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {{"NAME", "name", 0},
                                                 {"EVENTS", "events", 0},
                                                 {"BYTES", "bytes", 0},
                                                 {"FIRST", "first_sequence", 0},
                                                 {"LAST", "last_sequence", 0},
                                                 {"RATE/S", "rate", 0},
                                                 {"GROUPS", "groups", 0},
                                                 {"CONSUMERS", "consumers", 0},
                                                 {0}};
    struct chassis_error err = {0};
    Draft__Events__V1__ListStreamsRequest req = DRAFT__EVENTS__V1__LIST_STREAMS_REQUEST__INIT;
    Draft__Events__V1__ListStreamsResponse *res;
    struct chassis_call_options options = read_options(d);
    req.name_prefix = argc != 0 ? argv[0] : req.name_prefix;
    req.limit = PAGE;
    if (dctl_events_client(d, &err) == NULL) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    do {
        if (events_stream_service_list_sync(d->client, &req, &options, &d->arena, &res, &err) !=
            0) {
            return dctl_fail(d, &err);
        }
        for (size_t i = 0; i < res->n_streams; i++) {
            dctl_add(list, NULL, row_of(d, res->streams[i]));
        }
        req.page_token = res->next_page_token;
    } while (req.page_token[0] != '\0');
    dctl_print(d, list, columns);
    return DCTL_OK;
}

int dctl_streams_purge(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__PurgeStreamRequest req = DRAFT__EVENTS__V1__PURGE_STREAM_REQUEST__INIT;
    Draft__Events__V1__PurgeStreamResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    req.name = argv[0];
    req.keep_from_sequence = dctl_number(d, "before", 0);
    req.keep_events = dctl_number(d, "keep", 0);
    if (dctl_events_client(d, &err) == NULL ||
        events_stream_service_purge_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (d->format == DCTL_TABLE) {
        fprintf(d->out, "%s  %llu events removed, %llu kept\n", argv[0],
                (unsigned long long)res->purged,
                res->stream != NULL ? (unsigned long long)res->stream->events : 0ULL);
        return DCTL_OK;
    }
    dctl_print(d, dctl_message_node(&d->arena, res), NULL);
    return DCTL_OK;
}

int dctl_streams_delete(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__DeleteStreamRequest req = DRAFT__EVENTS__V1__DELETE_STREAM_REQUEST__INIT;
    Draft__Events__V1__DeleteStreamResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    req.name = argv[0];
    if (dctl_events_client(d, &err) == NULL ||
        events_stream_service_delete_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (d->format == DCTL_TABLE) {
        fprintf(d->out, "%s  deleted\n", argv[0]);
        return DCTL_OK;
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_text(&d->arena, map, "deleted", argv[0]);
    dctl_print(d, map, NULL);
    return DCTL_OK;
}
