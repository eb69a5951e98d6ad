/* dctl kv txn: conditions and operations in words, or a whole TxnRequest as JSON. */
#include <string.h>

#include "connect.h"
#include "kv.h"

typedef Core__Registry__KeyValue__V1__TxnRequest txn_request;
typedef Core__Registry__KeyValue__V1__TxnResponse txn_response;
typedef Core__Registry__KeyValue__V1__Compare compare;
typedef Core__Registry__KeyValue__V1__Op op;
typedef Core__Registry__KeyValue__V1__OpResult op_result;

enum { OPS_MAX = 128 };

static void *make(struct dctl *d, size_t size, void (*init)(void *))
{
    void *m = chassis_arena_zalloc(&d->arena, size);
    init(m);
    return m;
}

/* Cut the next word off `*text`; the empty string at the end. */
static char *next_word(char **text)
{
    *text += strspn(*text, " ");
    char *word = *text;
    *text += strcspn(word, " ");
    if (**text != '\0') {
        *(*text)++ = '\0';
    }
    return word;
}

static int parse_condition(struct dctl *d, const char *text, compare **ret_compare,
                           struct chassis_error *err)
{
    char *rest = chassis_arena_strdup(&d->arena, text);
    char *key = next_word(&rest), *what = next_word(&rest);
    uint64_t n = 0;
    compare *c = chassis_arena_zalloc(&d->arena, sizeof *c);
    core__registry__key_value__v1__compare__init(c);
    int rc = dctl_kind(d, &c->kind, err);
    if (rc != 0) {
        return rc;
    }
    c->key = key;
    bool number = rest[0] != '\0' && dctl_parse_number(rest, &n) == 0;
    if ((strcmp(what, "exists") == 0 || strcmp(what, "missing") == 0) && rest[0] == '\0') {
        c->target_case = CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_EXISTS;
        c->exists = what[0] == 'e';
    } else if (strcmp(what, "revision") == 0 && number) {
        c->target_case = CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_REVISION;
        c->revision = n;
    } else if (strcmp(what, "version") == 0 && number) {
        c->target_case = CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_VERSION;
        c->version = n;
    } else if (strcmp(what, "value") == 0) {
        c->target_case = CORE__REGISTRY__KEY_VALUE__V1__COMPARE__TARGET_VALUE;
        rc = dctl_value_parse(d, chassis_view_str(rest), &c->value, err);
    } else {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "'%s' is no condition: KEY exists, KEY missing, KEY revision N, "
                               "KEY version N or KEY value TEXT",
                               text);
    }
    if (rc == 0) {
        *ret_compare = c;
    }
    return rc;
}

static void init_set(void *m)
{
    core__registry__key_value__v1__set_request__init(m);
}
static void init_delete(void *m)
{
    core__registry__key_value__v1__delete_request__init(m);
}
static void init_get(void *m)
{
    core__registry__key_value__v1__get_request__init(m);
}

static int parse_operation(struct dctl *d, const char *text, op **ret_op, struct chassis_error *err)
{
    char *rest = chassis_arena_strdup(&d->arena, text);
    char *verb = next_word(&rest), *key = next_word(&rest);
    op *o = chassis_arena_zalloc(&d->arena, sizeof *o);
    core__registry__key_value__v1__op__init(o);
    *ret_op = o;
    if (strcmp(verb, "set") == 0 && key[0] != '\0') {
        struct chassis_view value;
        o->op_case = CORE__REGISTRY__KEY_VALUE__V1__OP__OP_SET;
        o->set = make(d, sizeof *o->set, init_set);
        o->set->key = key;
        int rc = dctl_read_input(d, rest, &value, err);
        return rc != 0 ? rc : dctl_value_parse(d, value, &o->set->value, err);
    }
    if (strcmp(verb, "del") == 0 && key[0] != '\0' && rest[0] == '\0') {
        o->op_case = CORE__REGISTRY__KEY_VALUE__V1__OP__OP_DELETE;
        o->delete_ = make(d, sizeof *o->delete_, init_delete);
        o->delete_->key = key;
        return dctl_kind(d, &o->delete_->value, err);
    }
    if (strcmp(verb, "get") == 0 && key[0] != '\0' && rest[0] == '\0') {
        o->op_case = CORE__REGISTRY__KEY_VALUE__V1__OP__OP_GET;
        o->get = make(d, sizeof *o->get, init_get);
        o->get->key = key;
        return dctl_kind(d, &o->get->value, err);
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                             "'%s' is no operation: set KEY VALUE, del KEY or get KEY", text);
}

static int parse_operations(struct dctl *d, const char *option, op ***ret_ops, size_t *ret_n,
                            struct chassis_error *err)
{
    op **ops = chassis_arena_alloc(&d->arena, OPS_MAX * sizeof(op *));
    size_t n = 0;
    for (const char *text; (text = dctl_repeated(d, option, (unsigned)n)) != NULL; n++) {
        int rc = parse_operation(d, text, &ops[n], err);
        if (rc != 0) {
            return rc;
        }
    }
    *ret_ops = ops;
    *ret_n = n;
    return 0;
}

/* From --if, --then, --else (at most DCTL_GIVEN_MAX of them, below the limit of 128). */
static int request_of_options(struct dctl *d, txn_request *req, struct chassis_error *err)
{
    _Static_assert((int)DCTL_GIVEN_MAX <= (int)OPS_MAX, "the arrays hold every option");
    req->compare = chassis_arena_alloc(&d->arena, OPS_MAX * sizeof(compare *));
    for (const char *text; (text = dctl_repeated(d, "if", (unsigned)req->n_compare)) != NULL;) {
        int rc = parse_condition(d, text, &req->compare[req->n_compare], err);
        if (rc != 0) {
            return rc;
        }
        req->n_compare++;
    }
    int rc = parse_operations(d, "then", &req->success, &req->n_success, err);
    rc = rc != 0 ? rc : parse_operations(d, "else", &req->failure, &req->n_failure, err);
    if (rc == 0 && req->n_success + req->n_failure == 0) {
        rc = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                               "nothing to do: give --then, --else or --file");
    }
    return rc;
}

static int request_of_file(struct dctl *d, const char *file, const txn_request **ret_req,
                           struct chassis_error *err)
{
    struct chassis_view json;
    ProtobufCMessage *message;
    const char *input =
        strcmp(file, "-") == 0 ? file : chassis_arena_printf(&d->arena, "@%s", file);
    int rc = dctl_read_input(d, input, &json, err);
    if (rc != 0) {
        return rc;
    }
    rc = chassis_json_parse(&core__registry__key_value__v1__txn_request__descriptor, json,
                            dctl_types(), false, &d->arena, &message, err);
    if (rc != 0) {
        chassis_error_wrap(err, "%s", file);
        return rc;
    }
    *ret_req = (const txn_request *)(const void *)message;
    return 0;
}

static void add_result(struct dctl *d, struct dctl_node *list, const op_result *result)
{
    struct dctl_node *row = dctl_add(list, NULL, dctl_map(&d->arena));
    switch (result->result_case) {
    case CORE__REGISTRY__KEY_VALUE__V1__OP_RESULT__RESULT_SET:
        dctl_add_text(&d->arena, row, "op", "set");
        dctl_add_text(&d->arena, row, "key", result->set->key);
        dctl_kv_add_meta(d, row, result->set->meta);
        break;
    case CORE__REGISTRY__KEY_VALUE__V1__OP_RESULT__RESULT_DELETE:
        dctl_add_text(&d->arena, row, "op", "del");
        dctl_add_text(&d->arena, row, "key", result->delete_->key);
        dctl_kv_add_meta(d, row, result->delete_->meta);
        break;
    case CORE__REGISTRY__KEY_VALUE__V1__OP_RESULT__RESULT_GET:
        dctl_add_text(&d->arena, row, "op", "get");
        dctl_add_any(d, row, "value", result->get->value);
        dctl_kv_add_meta(d, row, result->get->meta);
        break;
    case CORE__REGISTRY__KEY_VALUE__V1__OP_RESULT__RESULT__NOT_SET:
    default:
        dctl_add_text(&d->arena, row, "op", "unknown");
        break;
    }
}

int dctl_kv_txn(struct dctl *d, int argc, char **argv)
{
    static const struct dctl_column columns[] = {{"OP", "op", 0},
                                                 {"KEY", "key", 0},
                                                 {"REVISION", "revision", 0},
                                                 {"VALUE", "value", 0},
                                                 {0}};
    struct chassis_error err = {0};
    txn_request built = CORE__REGISTRY__KEY_VALUE__V1__TXN_REQUEST__INIT;
    const txn_request *req = &built;
    txn_response *res;
    const char *file = dctl_string(d, "file");
    int rc =
        file != NULL ? request_of_file(d, file, &req, &err) : request_of_options(d, &built, &err);
    if (rc != 0) {
        dctl_fail(d, &err);
        return DCTL_USAGE;
    }
    struct chassis_call_options options = dctl_call_options(d, 0);
    if (dctl_client(d, &err) == NULL ||
        key_value_txn_sync(d->client, req, &options, &d->arena, &res, &err) != 0) {
        return dctl_fail(d, &err);
    }
    struct dctl_node *map = dctl_map(&d->arena);
    dctl_add_bool(&d->arena, map, "succeeded", res->succeeded);
    dctl_add_u64(&d->arena, map, "revision", res->revision);
    struct dctl_node *results = dctl_add(map, "results", dctl_list(&d->arena));
    for (size_t i = 0; i < res->n_results; i++) {
        add_result(d, results, res->results[i]);
    }
    if (d->format != DCTL_TABLE) {
        dctl_print(d, map, NULL);
        return DCTL_OK;
    }
    fprintf(d->out, "%s, revision %llu\n",
            res->succeeded ? "conditions held" : "conditions did not hold",
            (unsigned long long)res->revision);
    if (results->first != NULL) {
        dctl_print(d, results, columns);
    }
    return DCTL_OK;
}
