/* dctl kv set, get, del, list, cas: one record or all of one type. */
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "kv.h"

typedef Core__Registry__KeyValue__V1__SetRequest set_request;
typedef Core__Registry__KeyValue__V1__SetResponse set_response;
typedef Core__Registry__KeyValue__V1__GetRequest get_request;
typedef Core__Registry__KeyValue__V1__GetResponse get_response;
typedef Core__Registry__KeyValue__V1__DeleteRequest delete_request;
typedef Core__Registry__KeyValue__V1__DeleteResponse delete_response;
typedef Core__Registry__KeyValue__V1__ListRequest list_request;
typedef Core__Registry__KeyValue__V1__ListResponse list_response;

enum { LIST_PAGE = 500 };

void dctl_kv_add_meta(struct dctl *d, struct dctl_node *record, const kv_meta *meta)
{
    if (meta == NULL) {
        return;
    }
    dctl_add_u64(&d->arena, record, "revision", meta->revision);
    dctl_add_u64(&d->arena, record, "created_revision", meta->created_revision);
    dctl_add_u64(&d->arena, record, "version", meta->version);
    dctl_add_time(d, record, "time", meta->time);
    dctl_add_text(&d->arena, record, "actor", meta->actor);
}

/* What a write answered: only said aloud in JSON and YAML; a table shows key and revision. */
static int written(struct dctl *d, const char *key, const kv_meta *meta)
{
    if (d->format == DCTL_TABLE) {
        fprintf(d->out, "%s  revision %llu\n", key,
                meta != NULL ? (unsigned long long)meta->revision : 0ULL);
        return DCTL_OK;
    }
    struct dctl_node *record = dctl_map(&d->arena);
    dctl_add_text(&d->arena, record, "key", key);
    dctl_kv_add_meta(d, record, meta);
    dctl_print(d, record, NULL);
    return DCTL_OK;
}

static int set(struct dctl *d, char *key, const char *argument, const uint64_t *expected)
{
    struct chassis_error err = {0};
    struct chassis_view text;
    set_request req = CORE__REGISTRY__KEY_VALUE__V1__SET_REQUEST__INIT;
    set_response *res;
    if (dctl_read_input(d, argument, &text, &err) != 0 ||
        dctl_value_parse(d, text, &req.value, &err) != 0) {
        dctl_fail(d, &err);
        return DCTL_USAGE;
    }
    req.key = key;
    const char *lease = dctl_string(d, "lease");
    if (lease != NULL) {
        req.lease = chassis_arena_strdup(&d->arena, lease);
    }
    if (expected != NULL) {
        req._expected_revision_case =
            CORE__REGISTRY__KEY_VALUE__V1__SET_REQUEST___EXPECTED_REVISION_EXPECTED_REVISION;
        req.expected_revision = *expected;
    }
    struct chassis_client *client = dctl_client(d, &err);
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (client == NULL || key_value_set_sync(client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    return written(d, res->key, res->meta);
}

int dctl_kv_set(struct dctl *d, int argc, char **argv)
{
    uint64_t expected = dctl_number(d, "expect", 0);
    return set(d, argv[0], argv[1], dctl_string(d, "expect") != NULL ? &expected : NULL);
}

int dctl_kv_cas(struct dctl *d, int argc, char **argv)
{
    uint64_t expected;
    if (dctl_parse_number(argv[1], &expected) != 0) {
        return dctl_usage(d, "REVISION is a number, not '%s'", argv[1]);
    }
    return set(d, argv[0], argv[2], &expected);
}

/* The value alone: text as it is, a message as JSON. */
static void print_value(struct dctl *d, const struct dctl_node *value)
{
    if (value->kind == DCTL_TEXT) {
        fwrite(value->text.data, 1, value->text.len, d->out);
    } else {
        struct chassis_buf json = {0};
        dctl_write_json(value, 0, &json);
        fwrite(json.data, 1, json.len, d->out);
        chassis_buf_fini(&json);
    }
    fputc('\n', d->out);
}

int dctl_kv_get(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    get_request req = CORE__REGISTRY__KEY_VALUE__V1__GET_REQUEST__INIT;
    get_response *res;
    req.key = argv[0];
    req.stale = dctl_flag(d, "stale");
    req.at_revision = dctl_number(d, "at", 0);
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    if (dctl_kind(d, &req.value, &err) != 0 || dctl_client(d, &err) == NULL ||
        key_value_get_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *record = dctl_map(&d->arena);
    dctl_add_text(&d->arena, record, "key", argv[0]);
    dctl_add_text(&d->arena, record, "type", dctl_type_name(req.value->type_url));
    dctl_add_any(d, record, "value", res->value);
    dctl_kv_add_meta(d, record, res->meta);
    if (d->format == DCTL_TABLE) {
        print_value(d, dctl_find(record, "value"));
    } else {
        dctl_print(d, record, NULL);
    }
    return DCTL_OK;
}

int dctl_kv_del(struct dctl *d, int argc, char **argv)
{
    struct chassis_error err = {0};
    delete_request req = CORE__REGISTRY__KEY_VALUE__V1__DELETE_REQUEST__INIT;
    delete_response *res;
    req.key = argv[0];
    if (dctl_string(d, "expect") != NULL) {
        req._expected_revision_case =
            CORE__REGISTRY__KEY_VALUE__V1__DELETE_REQUEST___EXPECTED_REVISION_EXPECTED_REVISION;
        req.expected_revision = dctl_number(d, "expect", 0);
    }
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (dctl_kind(d, &req.value, &err) != 0 || dctl_client(d, &err) == NULL ||
        key_value_delete_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    return written(d, res->key, res->meta);
}

static const kv_meta *meta_of(const list_response *res, const char *key)
{
    for (size_t i = 0; i < res->n_metas; i++) {
        if (strcmp(res->metas[i]->key, key) == 0) {
            return res->metas[i]->value;
        }
    }
    return NULL;
}

static int by_key(const void *a, const void *b)
{
    const Core__Registry__KeyValue__V1__ListResponse__ValuesEntry *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static void add_page(struct dctl *d, struct dctl_node *list, list_response *res, const char *type)
{
    bool keys = dctl_flag(d, "keys");
    if (res->n_values != 0) {
        qsort(res->values, res->n_values, sizeof res->values[0], by_key);
    }
    for (size_t i = 0; i < res->n_values; i++) {
        struct dctl_node *record = dctl_add(list, NULL, dctl_map(&d->arena));
        dctl_add_text(&d->arena, record, "key", res->values[i]->key);
        if (!keys) {
            dctl_add_text(&d->arena, record, "type", type);
            dctl_add_any(d, record, "value", res->values[i]->value);
            dctl_kv_add_meta(d, record, meta_of(res, res->values[i]->key));
        }
    }
}

int dctl_kv_list(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {
        {"KEY", "key", 0}, {"REVISION", "revision", 0}, {"VALUE", "value", 0}, {0}};
    static const struct dctl_column only_keys[] = {{"KEY", "key", 0}, {0}};
    struct chassis_error err = {0};
    list_request req = CORE__REGISTRY__KEY_VALUE__V1__LIST_REQUEST__INIT;
    list_response *res;
    uint64_t left = dctl_number(d, "limit", UINT64_MAX), page = dctl_number(d, "page", LIST_PAGE);
    if (page == 0 || page > UINT32_MAX) {
        return dctl_usage(d, "--page is at least 1");
    }
    req.key_prefix = argc != 0 ? argv[0] : req.key_prefix;
    req.stale = dctl_flag(d, "stale");
    req.at_revision = dctl_number(d, "at", 0);
    struct chassis_call_options options = dctl_call_options(d, 0);
    options.idempotent = true;
    if (dctl_kind(d, &req.value, &err) != 0 || dctl_client(d, &err) == NULL) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *list = dctl_list(&d->arena);
    while (left != 0) {
        req.limit = (uint32_t)(left < page ? left : page);
        if (key_value_list_sync(d->client, &req, &options, &d->arena, &res, &err) != 0) {
            return dctl_fail(d, &err);
        }
        add_page(d, list, res, dctl_type_name(req.value->type_url));
        left -= res->n_values < left ? res->n_values : left;
        if (res->next_page_token[0] == '\0') {
            break;
        }
        req.page_token = res->next_page_token;
    }
    dctl_print(d, list, dctl_flag(d, "keys") ? only_keys : columns);
    return DCTL_OK;
}
