/* dctl dlq list, peek, replay, purge: events a group could not handle. */
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "event.h"

int dctl_dlq_list(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {{"STREAM", "stream", 0},
                                                 {"GROUP", "group", 0},
                                                 {"EVENTS", "events", 0},
                                                 {"FIRST", "first_time", 0},
                                                 {"LAST", "last_time", 0},
                                                 {"KEPT IN", "dead_letter_stream", 0},
                                                 {0}};
    struct chassis_error err = {0};
    Draft__Events__V1__ListDeadLettersRequest req =
        DRAFT__EVENTS__V1__LIST_DEAD_LETTERS_REQUEST__INIT;
    Draft__Events__V1__ListDeadLettersResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    req.stream = argc != 0 ? argv[0] : req.stream;
    if (dctl_events_client(d, &err) == NULL ||
        events_dead_letter_service_list_sync(d->client, &req, &options, &d->arena, &res, &err) !=
            0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    for (size_t i = 0; i < res->n_dead_letters; i++) {
        dctl_add(list, NULL, dctl_message_node(&d->arena, res->dead_letters[i]));
    }
    dctl_print(d, list, columns);
    return DCTL_OK;
}

/* The row of a table has why it came here beside the event itself. */
static struct dctl_node *letter_of(struct dctl *d, const event_delivery *delivery)
{
    struct dctl_node *row = dctl_delivery_node(d, &d->arena, delivery);
    if (d->format == DCTL_TABLE && delivery->event != NULL) {
        const struct dctl_node *reason =
            dctl_find(dctl_event_node(&d->arena, delivery->event), "deadreason");
        dctl_add_view(&d->arena, row, "reason",
                      reason != NULL ? reason->text : chassis_view_str(""));
        dctl_add_text(&d->arena, row, "id", delivery->event->id);
    }
    return row;
}

int dctl_dlq_peek(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {{"SEQUENCE", "sequence", 0},
                                                 {"TIME", "time", 0},
                                                 {"ID", "id", 0},
                                                 {"TYPE", "type", 0},
                                                 {"REASON", "reason", 0},
                                                 {"DATA", "data", 0},
                                                 {0}};
    struct chassis_error err = {0};
    Draft__Events__V1__PeekDeadLettersRequest req =
        DRAFT__EVENTS__V1__PEEK_DEAD_LETTERS_REQUEST__INIT;
    Draft__Events__V1__PeekDeadLettersResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    uint64_t limit = dctl_number(d, "limit", 100);
    if (limit == 0 || limit > 1000) {
        return dctl_usage(d, "--limit is 1 to 1000");
    }
    dctl_group_name(d, argv[0], &req.stream, &req.group);
    req.limit = (uint32_t)limit;
    req.from_sequence = dctl_number(d, "from", 0);
    if (dctl_events_client(d, &err) == NULL ||
        events_dead_letter_service_peek_sync(d->client, &req, &options, &d->arena, &res, &err) !=
            0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    for (size_t i = 0; i < res->n_deliveries; i++) {
        dctl_add(list, NULL, letter_of(d, res->deliveries[i]));
    }
    dctl_print(d, list, columns);
    return DCTL_OK;
}

/* How many there were, in words or as a map. */
static int done(struct dctl *d, const char *word, uint64_t n)
{
    if (d->format == DCTL_TABLE) {
        fprintf(d->out, "%llu dead letters %s\n", (unsigned long long)n, word);
        return DCTL_OK;
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_u64(&d->arena, map, word, n);
    dctl_print(d, map, NULL);
    return DCTL_OK;
}

int dctl_dlq_replay(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__ReplayDeadLettersRequest req =
        DRAFT__EVENTS__V1__REPLAY_DEAD_LETTERS_REQUEST__INIT;
    Draft__Events__V1__ReplayDeadLettersResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    dctl_group_name(d, argv[0], &req.stream, &req.group);
    req.sequences = chassis_arena_alloc(&d->arena, (size_t)argc * sizeof *req.sequences);
    for (int i = 1; i < argc; i++) {
        if (dctl_parse_number(argv[i], &req.sequences[req.n_sequences++]) != 0) {
            return dctl_usage(d, "SEQUENCE is a number, not '%s'", argv[i]);
        }
    }
    if (dctl_events_client(d, &err) == NULL ||
        events_dead_letter_service_replay_sync(d->client, &req, &options, &d->arena, &res, &err) !=
            0) {
        return dctl_fail(d, &err);
    }
    return done(d, "replayed", res->replayed);
}

int dctl_dlq_purge(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    Draft__Events__V1__PurgeDeadLettersRequest req =
        DRAFT__EVENTS__V1__PURGE_DEAD_LETTERS_REQUEST__INIT;
    Draft__Events__V1__PurgeDeadLettersResponse *res;
    struct chassis_call_options options = dctl_call_options(d, 0);
    dctl_group_name(d, argv[0], &req.stream, &req.group);
    req.through_sequence = dctl_number(d, "through", 0);
    if (dctl_events_client(d, &err) == NULL ||
        events_dead_letter_service_purge_sync(d->client, &req, &options, &d->arena, &res, &err) !=
            0) {
        return dctl_fail(d, &err);
    }
    return done(d, "purged", res->purged);
}
