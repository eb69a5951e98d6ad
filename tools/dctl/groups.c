/* dctl groups list, get, create, update, seek, delete: durable places in streams. */
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "event.h"

typedef Draft__Events__V1__Group group_message;
typedef Draft__Events__V1__GroupConfig group_config;

enum { PAGE = 500, BACKOFF_MAX = 16 };

static void print_group(struct dctl *d, const group_message *group)
{
    dctl_print(d, dctl_message_node(&d->arena, group), NULL);
}

/* "1s,5s,1m" */
static int parse_backoff(struct dctl *d, const char *text, group_config *config)
{
    uint64_t ms;
    config->backoff_ms = chassis_arena_alloc(&d->arena, BACKOFF_MAX * sizeof *config->backoff_ms);
    config->n_backoff_ms = 0;
    for (const char *p = text; *p != '\0';) {
        size_t len = strcspn(p, ",");
        const char *one = chassis_arena_strndup(&d->arena, p, len);
        if (config->n_backoff_ms == BACKOFF_MAX || dctl_parse_duration_ms(one, &ms) != 0 ||
            ms > UINT32_MAX) {
            return dctl_usage(d, "--backoff is up to %d waits such as 1s,5s,1m, not '%s'",
                              BACKOFF_MAX, text);
        }
        config->backoff_ms[config->n_backoff_ms++] = (uint32_t)ms;
        p += len + (p[len] == ',');
    }
    return 0;
}

static char *text_option(struct dctl *d, const char *name, char *otherwise)
{
    const char *text = dctl_string(d, name);
    return text != NULL ? chassis_arena_strdup(&d->arena, text) : otherwise;
}

static void push_of_options(struct dctl *d, group_config *config)
{
    if (dctl_string(d, "push") == NULL) {
        return;
    }
    config->push = chassis_arena_alloc(&d->arena, sizeof *config->push);
    draft__events__v1__push__init(config->push);
    config->push->url = text_option(d, "push", NULL);
    config->push->structured = dctl_flag(d, "push-structured");
    config->push->token_secret = text_option(d, "push-secret", config->push->token_secret);
    config->push->timeout_ms = (uint32_t)dctl_duration_ms(d, "push-timeout", 0);
    config->push->concurrency = (uint32_t)dctl_number(d, "push-concurrency", 0);
    config->push->requests_per_minute = (uint32_t)dctl_number(d, "push-rate", 0);
}

/* Whatever was given over what `config` holds. 0 or the exit code. */
static int apply_options(struct dctl *d, group_config *config)
{
    const char *backoff = dctl_string(d, "backoff");
    int code = backoff != NULL ? parse_backoff(d, backoff, config) : 0;
    if (code != 0) {
        return code;
    }
    Draft__Events__V1__Filter **filters;
    size_t n_filters;
    dctl_filters(d, &filters, &n_filters);
    if (n_filters != 0) {
        config->filters = filters;
        config->n_filters = n_filters;
    }
    config->ack_wait_ms = (uint32_t)dctl_duration_ms(d, "ack-wait", config->ack_wait_ms);
    config->deliveries_max = (uint32_t)dctl_number(d, "deliveries", config->deliveries_max);
    config->in_flight_max = (uint32_t)dctl_number(d, "in-flight", config->in_flight_max);
    config->ordered_by_key = config->ordered_by_key || dctl_flag(d, "ordered");
    config->dead_letter_stream = text_option(d, "dead-letters", config->dead_letter_stream);
    config->description = text_option(d, "description", config->description);
    push_of_options(d, config);
    return 0;
}

/* What --file says, under the name of the command; *ret_config stays without the option. */
static int config_of_file(struct dctl *d, const char *name, group_config **ret_config,
                          struct chassis_error *err)
{
    const char *file = dctl_string(d, "file");
    ProtobufCMessage *message;
    if (file == NULL) {
        return 0;
    }
    int rc = dctl_message_read(d, file, "config", &draft__events__v1__group_config__descriptor,
                               &message, err);
    if (rc == 0) {
        *ret_config = (group_config *)(void *)message;
        dctl_group_name(d, name, &(*ret_config)->stream, &(*ret_config)->name);
    }
    return rc;
}

int dctl_groups_create(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__CreateGroupRequest req = DRAFT__EVENTS__V1__CREATE_GROUP_REQUEST__INIT;
    Draft__Events__V1__CreateGroupResponse *res;
    group_config config = DRAFT__EVENTS__V1__GROUP_CONFIG__INIT;
    const char *from = dctl_string(d, "from");
    dctl_group_name(d, argv[0], &config.stream, &config.name);
    req.config = &config;
    if (config_of_file(d, argv[0], &req.config, &err) != 0 ||
        (from != NULL && dctl_start_parse(d, from, &req.config->start, &err) != 0)) {
        return dctl_usage(d, "%s", chassis_error_text(&err));
    }
    int code = apply_options(d, req.config);
    if (code != 0) {
        return code;
    }
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (dctl_events_client(d, &err) == NULL ||
        events_group_service_create_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    print_group(d, res->group);
    return DCTL_OK;
}

static int get_group(struct dctl *d, const char *name, group_message **ret_group,
                     struct chassis_error *err)
{
    Draft__Events__V1__GetGroupRequest req = DRAFT__EVENTS__V1__GET_GROUP_REQUEST__INIT;
    Draft__Events__V1__GetGroupResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    dctl_group_name(d, name, &req.stream, &req.name);
    if (dctl_events_client(d, err) == NULL) {
        return err->code;
    }
    int rc = events_group_service_get_sync(d->client, &req, &options, &d->arena, &res, err);
    if (rc == 0) {
        *ret_group = res->group;
    }
    return rc;
}

int dctl_groups_get(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    group_message *group;
    if (get_group(d, argv[0], &group, &err) != 0) {
        return dctl_fail(d, &err);
    }
    print_group(d, group);
    return DCTL_OK;
}

int dctl_groups_update(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__UpdateGroupRequest req = DRAFT__EVENTS__V1__UPDATE_GROUP_REQUEST__INIT;
    Draft__Events__V1__UpdateGroupResponse *res;
    group_message *group;
    if (config_of_file(d, argv[0], &req.config, &err) != 0) {
        return dctl_usage(d, "%s", chassis_error_text(&err));
    }
    if (req.config == NULL && get_group(d, argv[0], &group, &err) != 0) {
        return dctl_fail(d, &err);
    }
    req.config = req.config != NULL ? req.config : group->config;
    int code = apply_options(d, req.config);
    if (code != 0) {
        return code;
    }
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (dctl_events_client(d, &err) == NULL ||
        events_group_service_update_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    print_group(d, res->group);
    return DCTL_OK;
}

static struct dctl_node *row_of(struct dctl *d, const group_message *g)
{
    struct dctl_node *row = dctl_message_node(&d->arena, g);
    dctl_add_text(&d->arena, row, "name",
                  chassis_arena_printf(&d->arena, "%s/%s", g->config->stream, g->config->name));
    if (d->format == DCTL_TABLE) {
        const struct dctl_node *push = dctl_find(row, "push");
        const struct dctl_node *state = push != NULL ? dctl_find(push, "state") : NULL;
        dctl_add_u64(&d->arena, row, "n_members", g->n_members);
        dctl_add_view(&d->arena, row, "push_state",
                      state != NULL ? state->text : chassis_view_str("-"));
    }
    return row;
}

int dctl_groups_list(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {{"GROUP", "name", 0},
                                                 {"LAG", "lag", 0},
                                                 {"ACKED BELOW", "ack_floor", 0},
                                                 {"IN FLIGHT", "in_flight", 0},
                                                 {"WAITING", "waiting", 0},
                                                 {"MEMBERS", "n_members", 0},
                                                 {"PUSH", "push_state", 0},
                                                 {"REDELIVERED", "redelivered", 0},
                                                 {"DEAD", "dead_lettered", 0},
                                                 {0}};
    struct chassis_error err = {0};
    Draft__Events__V1__ListGroupsRequest req = DRAFT__EVENTS__V1__LIST_GROUPS_REQUEST__INIT;
    Draft__Events__V1__ListGroupsResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    req.stream = argc != 0 ? argv[0] : req.stream;
    req.limit = PAGE;
    if (dctl_events_client(d, &err) == NULL) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    do {
        if (events_group_service_list_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
            return dctl_fail(d, &err);
        }
        for (size_t i = 0; i < res->n_groups; i++) {
            dctl_add(list, NULL, row_of(d, res->groups[i]));
        }
        req.page_token = res->next_page_token;
    } while (req.page_token[0] != '\0');
    dctl_print(d, list, columns);
    return DCTL_OK;
}

int dctl_groups_seek(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__SeekGroupRequest req = DRAFT__EVENTS__V1__SEEK_GROUP_REQUEST__INIT;
    Draft__Events__V1__SeekGroupResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    dctl_group_name(d, argv[0], &req.stream, &req.name);
    if (dctl_start_parse(d, argv[1], &req.start, &err) != 0) {
        return dctl_usage(d, "%s", chassis_error_text(&err));
    }
    if (dctl_events_client(d, &err) == NULL ||
        events_group_service_seek_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    print_group(d, res->group);
    return DCTL_OK;
}

int dctl_groups_delete(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__DeleteGroupRequest req = DRAFT__EVENTS__V1__DELETE_GROUP_REQUEST__INIT;
    Draft__Events__V1__DeleteGroupResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    dctl_group_name(d, argv[0], &req.stream, &req.name);
    if (dctl_events_client(d, &err) == NULL ||
        events_group_service_delete_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    if (d->format == DCTL_TABLE) {
        fprintf(d->out, "%s/%s  deleted\n", req.stream, req.name);
        return DCTL_OK;
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_text(&d->arena, map, "deleted", req.name);
    dctl_add_text(&d->arena, map, "stream", req.stream);
    dctl_print(d, map, NULL);
    return DCTL_OK;
}
