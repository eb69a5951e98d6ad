#include "model.h"

#include "../key_value/model.h"
#include "base/assert.h"
#include "base/bytes.h"

#define COUNTER_TRANSITIONS "transitions" /* how many are kept */
#define COUNTER_NONCES      "nonces"      /* how many are remembered */
#define COUNTER_PROCESSES   "processes"

static bool texts_equal(const struct bp_array *a, const struct bp_array *b)
{
    const struct bp_sd_text *x = a->items, *y = b->items;
    bool same = a->n == b->n;
    for (size_t i = 0; i < a->n && same; i++) {
        same = chassis_view_eq(x[i].text, y[i].text);
    }
    return same;
}

static bool metadata_equal(const struct bp_array *a, const struct bp_array *b)
{
    const struct bp_sd_metadata *x = a->items, *y = b->items;
    bool same = a->n == b->n;
    for (size_t i = 0; i < a->n && same; i++) {
        same = chassis_view_eq(x[i].key, y[i].key) && chassis_view_eq(x[i].value, y[i].value);
    }
    return same;
}

bool bp_sd_details_equal(const struct bp_sd_details *a, const struct bp_sd_details *b)
{
    /* Positions are compared as bits: a NaN must not count as a change each time. */
    return a->running == b->running && a->health == b->health && a->kind == b->kind &&
           memcmp(&a->lat, &b->lat, sizeof a->lat) == 0 &&
           memcmp(&a->lng, &b->lng, sizeof a->lng) == 0 && chassis_view_eq(a->group, b->group) &&
           chassis_view_eq(a->address, b->address) &&
           chassis_view_eq(a->http_address, b->http_address) &&
           texts_equal(&a->services, &b->services) && metadata_equal(&a->metadata, &b->metadata);
}

bool bp_sd_matches(const struct bp_sd_filter *filter, const struct bp_sd_process *process)
{
    switch (filter->type) {
    case BP_SD_FILTER_ALL:
        return true;
    case BP_SD_FILTER_ID:
        return chassis_view_eq(filter->text, process->pid);
    case BP_SD_FILTER_GROUP:
        return chassis_view_eq(filter->text, process->details.group);
    case BP_SD_FILTER_NAME:
        return chassis_view_eq(filter->text, process->name);
    case BP_SD_FILTER_SERVICE: {
        const struct bp_sd_text *services = process->details.services.items;
        for (size_t i = 0; i < process->details.services.n; i++) {
            if (chassis_view_eq(filter->text, services[i].text)) {
                return true;
            }
        }
        return false;
    }
    }
    return false;
}

/* The oldest row of a table whose keys begin with `prefix`. */
static bool oldest(struct bp_change *change, enum bp_table table, const char *prefix,
                   struct bp_key *ret_key)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    int r = chassis_cursor_open(change->txn, table, &cursor);
    if (r == 0) {
        r = chassis_cursor_seek(cursor, chassis_view(prefix[0] != '\0' ? prefix : "\0", 1), &k, &v);
        if (r == 0 && !chassis_view_starts_with(k, chassis_view_str(prefix))) {
            r = CHASSIS_NOT_FOUND;
        }
        if (r == 0) {
            ret_key->len = 0;
            bp_key_append(ret_key, k.data, k.len);
        }
        chassis_cursor_close(cursor);
    }
    if (r != 0 && r != CHASSIS_NOT_FOUND) {
        bp_change_damaged("walk table '%s': %s", bp_tables[table], chassis_status_text(r));
    }
    return r == 0;
}

static void record_transition(struct bp_change *change, enum bp_sd_event_type type,
                              const struct bp_sd_process *process)
{
    struct bp_sd_transition t = {.type = type, .time_ns = change->time_ns, .process = *process};
    struct bp_key key;
    bp_key_position(&key, bp_change_next(change));
    if (type == BP_SD_EVENT_JOINED) {
        t.process.incarnation = change->revision;
    }
    bp_change_append(change, BP_TABLE_TRANSITIONS, bp_key_view(&key), &bp_sd_layout_transition, &t);
    uint64_t n = bp_change_counter(change, COUNTER_TRANSITIONS) + 1;
    if (n > BP_SD_TRANSITIONS_MAX && oldest(change, BP_TABLE_TRANSITIONS, "", &key)) {
        bp_change_del(change, BP_TABLE_TRANSITIONS, bp_key_view(&key));
        n--;
    }
    bp_change_set_counter(change, COUNTER_TRANSITIONS, n);
}

static void put_process(struct bp_change *change, const struct bp_sd_process *process)
{
    bp_change_put(change, BP_TABLE_PROCESSES, process->pid, &bp_sd_layout_process, process);
}

static int find_process(struct bp_change *change, struct chassis_view pid, uint64_t incarnation,
                        struct bp_sd_process *ret_process)
{
    if (pid.len == 0 ||
        !bp_change_get(change, BP_TABLE_PROCESSES, pid, &bp_sd_layout_process, true, ret_process)) {
        return bp_change_refuse(change, CHASSIS_NOT_FOUND,
                                "process '%.*s' is not registered: it must initialize again",
                                CHASSIS_VIEW_ARG(pid));
    }
    if (incarnation != 0 && incarnation != ret_process->incarnation) {
        return bp_change_refuse(change, CHASSIS_FAILED_PRECONDITION,
                                "process '%.*s' has incarnation %llu, not %llu",
                                CHASSIS_VIEW_ARG(pid), (unsigned long long)ret_process->incarnation,
                                (unsigned long long)incarnation);
    }
    return 0;
}

static void nonce_key(struct bp_key *key, const struct bp_sd_register *reg)
{
    key->len = 0;
    bp_key_append(key, "n", 1);
    bp_key_append(key, reg->name.data, reg->name.len);
    bp_key_append(key, "", 1);
    bp_key_append(key, reg->nonce.data, reg->nonce.len);
}

/* Drop what is too old, a few per registration, and the oldest beyond the bound. */
static void forget_nonces(struct bp_change *change)
{
    uint64_t n = bp_change_counter(change, COUNTER_NONCES), before = n;
    struct bp_key key;
    for (unsigned i = 0; i < 8 && oldest(change, BP_TABLE_NONCES, "t", &key); i++) {
        struct bp_text of;
        struct bp_sd_nonce nonce;
        if (!bp_change_get(change, BP_TABLE_NONCES, bp_key_view(&key), &bp_layout_text, true,
                           &of) ||
            !bp_change_get(change, BP_TABLE_NONCES, of.text, &bp_sd_layout_nonce, false, &nonce)) {
            bp_change_damaged("the order of nonces names one that is not there");
        }
        if (n < BP_SD_NONCES_MAX && change->time_ns - nonce.time_ns <= BP_SD_NONCE_KEEP_NS) {
            break;
        }
        bp_change_del(change, BP_TABLE_NONCES, of.text);
        bp_change_del(change, BP_TABLE_NONCES, bp_key_view(&key));
        n--;
    }
    if (n != before) {
        bp_change_set_counter(change, COUNTER_NONCES, n);
    }
}

static void remember_nonce(struct bp_change *change, const struct bp_sd_register *reg)
{
    forget_nonces(change);
    struct bp_key key, order = {.len = 0};
    nonce_key(&key, reg);
    bp_key_append(&order, "t", 1);
    bp_key_append_be64(&order, change->revision);
    struct bp_sd_nonce nonce = {reg->pid, change->revision, change->time_ns};
    struct bp_text of = {bp_key_view(&key)};
    bp_change_put(change, BP_TABLE_NONCES, bp_key_view(&key), &bp_sd_layout_nonce, &nonce);
    bp_change_put(change, BP_TABLE_NONCES, bp_key_view(&order), &bp_layout_text, &of);
    bp_change_set_counter(change, COUNTER_NONCES, bp_change_counter(change, COUNTER_NONCES) + 1);
}

static int reply_registered(struct bp_change *change, struct chassis_view pid, uint64_t incarnation)
{
    struct bp_sd_register_result result = {pid, incarnation};
    bp_codec_encode(&bp_sd_layout_register_result, BP_CODEC_VERSION, &result, change->result);
    return 0;
}

/* 0: answered as a repetition; 1: new; negative: refused. */
static int check_nonce(struct bp_change *change, const struct bp_sd_register *reg)
{
    struct bp_key key;
    struct bp_sd_nonce nonce;
    struct bp_sd_process process;
    nonce_key(&key, reg);
    if (reg->any_nonce || !bp_change_get(change, BP_TABLE_NONCES, bp_key_view(&key),
                                         &bp_sd_layout_nonce, true, &nonce)) {
        return 1;
    }
    bool fresh = change->time_ns - nonce.time_ns <= BP_SD_NONCE_REPEAT_NS;
    if (fresh && bp_change_get(change, BP_TABLE_PROCESSES, nonce.pid, &bp_sd_layout_process, false,
                               &process)) {
        return reply_registered(change, nonce.pid, nonce.incarnation);
    }
    return bp_change_refuse(change, CHASSIS_ALREADY_EXISTS,
                            "the nonce was used to register '%.*s' %s: send a new random one",
                            CHASSIS_VIEW_ARG(reg->name),
                            fresh ? "and that process has left" : "more than 2 minutes ago");
}

static int apply_register(struct bp_change *change, const struct bp_sd_register *reg)
{
    change->actor = reg->actor;
    if (reg->pid.len == 0 || reg->name.len == 0 || reg->nonce.len == 0) {
        return bp_change_refuse(change, CHASSIS_MALFORMED,
                                "a registration needs pid, name and nonce");
    }
    int r = check_nonce(change, reg);
    if (r <= 0) {
        return r;
    }
    struct bp_sd_process process;
    if (bp_change_get(change, BP_TABLE_PROCESSES, reg->pid, &bp_sd_layout_process, false,
                      &process)) {
        return bp_change_refuse(change, CHASSIS_ALREADY_EXISTS, "process '%.*s' is registered",
                                CHASSIS_VIEW_ARG(reg->pid));
    }
    uint64_t n = bp_change_counter(change, COUNTER_PROCESSES);
    if (n >= BP_SD_PROCESSES_MAX) {
        return bp_change_refuse(change, CHASSIS_RESOURCE_EXHAUSTED,
                                "%d processes are registered, the limit", BP_SD_PROCESSES_MAX);
    }
    process = (struct bp_sd_process){
        .pid = reg->pid,
        .name = reg->name,
        .details = {.running = BP_SD_STARTING},
        .joined_ns = change->time_ns,
        .changed_ns = change->time_ns,
        .reason = chassis_view_str("initialized"),
        .actor = reg->actor,
    };
    record_transition(change, BP_SD_EVENT_JOINED, &process);
    process.incarnation = change->revision;
    put_process(change, &process);
    bp_change_set_counter(change, COUNTER_PROCESSES, n + 1);
    bp_kv_lease_grant(change, process.pid);
    if (!reg->any_nonce) {
        remember_nonce(change, reg);
    }
    return reply_registered(change, process.pid, process.incarnation);
}

static int reply_changed(struct bp_change *change, uint64_t incarnation)
{
    struct bp_sd_change_result result = {change->changed, change->revision, incarnation};
    bp_codec_encode(&bp_sd_layout_change_result, BP_CODEC_VERSION, &result, change->result);
    return 0;
}

static int apply_report(struct bp_change *change, const struct bp_sd_report *report)
{
    change->actor = report->actor;
    struct bp_sd_process process;
    int r = find_process(change, report->pid, report->incarnation, &process);
    if (r != 0) {
        return r;
    }
    if (process.reported && process.left_ns == 0 &&
        bp_sd_details_equal(&process.details, &report->details)) {
        return reply_changed(change, process.incarnation);
    }
    if (process.left_ns != 0) {
        bp_kv_lease_grant(change, process.pid); /* it is back */
    }
    process.details = report->details;
    process.changed_ns = change->time_ns;
    process.left_ns = report->details.running == BP_SD_DISCONNECTED ? change->time_ns : 0;
    process.reported = true;
    process.reason = report->reason;
    process.actor = report->actor;
    record_transition(change, BP_SD_EVENT_CHANGED, &process);
    put_process(change, &process);
    return reply_changed(change, process.incarnation);
}

static int apply_set_health(struct bp_change *change, const struct bp_sd_set_health *set)
{
    change->actor = set->actor;
    struct bp_sd_process process;
    int r = find_process(change, set->pid, set->incarnation, &process);
    if (r != 0 || process.details.health == set->health) {
        return r != 0 ? r : reply_changed(change, process.incarnation);
    }
    process.details.health = set->health;
    process.changed_ns = change->time_ns;
    process.reason = set->reason;
    process.actor = set->actor;
    record_transition(change, BP_SD_EVENT_CHANGED, &process);
    put_process(change, &process);
    return reply_changed(change, process.incarnation);
}

static int apply_remove(struct bp_change *change, const struct bp_sd_remove *remove)
{
    change->actor = remove->actor;
    struct bp_sd_process process;
    int r = find_process(change, remove->pid, remove->incarnation, &process);
    if (r != 0) {
        return r;
    }
    bool expired = remove->removal == BP_SD_EXPIRED;
    if (expired && process.left_ns != 0) {
        return reply_changed(change, process.incarnation);
    }
    process.details.running = BP_SD_DISCONNECTED;
    process.changed_ns = change->time_ns;
    process.left_ns = process.left_ns != 0 ? process.left_ns : change->time_ns;
    process.reason = remove->reason;
    process.actor = remove->actor;
    record_transition(change, expired ? BP_SD_EVENT_EXPIRED : BP_SD_EVENT_LEFT, &process);
    bp_kv_lease_revoke(change, process.pid);
    if (expired) {
        put_process(change, &process);
    } else {
        bp_change_del(change, BP_TABLE_PROCESSES, process.pid);
        bp_change_set_counter(change, COUNTER_PROCESSES,
                              bp_change_counter(change, COUNTER_PROCESSES) - 1);
    }
    return reply_changed(change, process.incarnation);
}

static int apply_node_key(struct bp_change *change, const struct bp_sd_node_key *node_key)
{
    change->actor = node_key->actor;
    if (node_key->key_id.len == 0 || node_key->public_key.len != BP_SD_PUBLIC_KEY_LEN) {
        return bp_change_refuse(change, CHASSIS_MALFORMED, "a node key needs an id and %d bytes",
                                BP_SD_PUBLIC_KEY_LEN);
    }
    struct bp_sd_key key;
    if (bp_change_get(change, BP_TABLE_KEYS, node_key->key_id, &bp_sd_layout_key, false, &key)) {
        if (!chassis_view_eq(key.public_key, node_key->public_key)) {
            return bp_change_refuse(change, CHASSIS_ALREADY_EXISTS,
                                    "key id '%.*s' belongs to another key",
                                    CHASSIS_VIEW_ARG(node_key->key_id));
        }
        return reply_changed(change, 0);
    }
    (void)bp_change_next(change);
    key = (struct bp_sd_key){node_key->public_key, node_key->actor, change->time_ns};
    bp_change_put(change, BP_TABLE_KEYS, node_key->key_id, &bp_sd_layout_key, &key);
    return reply_changed(change, 0);
}

int bp_sd_apply(struct bp_change *change, struct chassis_view command)
{
    union {
        struct bp_sd_register reg;
        struct bp_sd_report report;
        struct bp_sd_remove remove;
        struct bp_sd_node_key node_key;
        struct bp_sd_set_health set_health;
    } m;
    static const struct bp_layout *const layouts[] = {
        [BP_SD_REGISTER] = &bp_sd_layout_register, [BP_SD_REPORT] = &bp_sd_layout_report,
        [BP_SD_REMOVE] = &bp_sd_layout_remove,     [BP_SD_NODE_KEY] = &bp_sd_layout_node_key,
        [BP_SD_HEALTH] = &bp_sd_layout_set_health,
    };
    uint8_t id = bp_codec_id(command);
    if (id >= sizeof layouts / sizeof layouts[0] || layouts[id] == NULL) {
        return bp_change_refuse(change, CHASSIS_MALFORMED,
                                "no command of service_discovery has number %u", id);
    }
    struct chassis_error err = {0};
    int r = bp_codec_decode(layouts[id], command, &change->arena, &m, &err);
    if (r != 0) {
        return bp_change_refuse(change, r, "%s", err.text);
    }
    switch (id) {
    case BP_SD_REGISTER:
        return apply_register(change, &m.reg);
    case BP_SD_REPORT:
        return apply_report(change, &m.report);
    case BP_SD_REMOVE:
        return apply_remove(change, &m.remove);
    case BP_SD_NODE_KEY:
        return apply_node_key(change, &m.node_key);
    default:
        return apply_set_health(change, &m.set_health);
    }
}

int bp_sd_get(struct chassis_txn *txn, struct chassis_view pid, struct chassis_arena *arena,
              struct bp_sd_process *ret_process, struct chassis_error *err)
{
    int r = pid.len == 0 || pid.len > BP_SD_PID_MAX
                ? CHASSIS_NOT_FOUND
                : bp_store_get(txn, BP_TABLE_PROCESSES, pid, &bp_sd_layout_process, arena,
                               ret_process, err);
    return r != CHASSIS_NOT_FOUND ? r
                                  : chassis_error_set(err, r, "process '%.*s' is not registered",
                                                      CHASSIS_VIEW_ARG(pid));
}

int bp_sd_each(struct chassis_txn *txn, struct chassis_arena *arena,
               int (*each)(const struct bp_sd_process *process, void *data), void *data,
               struct chassis_error *err)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    int r = chassis_cursor_open(txn, BP_TABLE_PROCESSES, &cursor);
    if (r != 0) {
        return chassis_error_code(err, r, "open a cursor on table 'processes'");
    }
    int stop = 0;
    r = chassis_cursor_seek(cursor, chassis_view("\0", 1), &k, &v);
    while (r == 0 && stop == 0) {
        struct bp_sd_process process;
        stop =
            bp_store_unseal(BP_TABLE_PROCESSES, k, v, &bp_sd_layout_process, arena, &process, err);
        if (stop == 0) {
            stop = each(&process, data);
        }
        r = chassis_cursor_next(cursor, &k, &v);
    }
    chassis_cursor_close(cursor);
    if (stop != 0) {
        return stop;
    }
    return r == CHASSIS_NOT_FOUND ? 0 : chassis_error_code(err, r, "walk table 'processes'");
}

int bp_sd_key_each(struct chassis_txn *txn,
                   int (*each)(struct chassis_view key_id, struct chassis_view public_key,
                               void *data),
                   void *data, struct chassis_error *err)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    struct chassis_arena arena;
    int r = chassis_cursor_open(txn, BP_TABLE_KEYS, &cursor);
    if (r != 0) {
        return chassis_error_code(err, r, "open a cursor on table 'keys'");
    }
    chassis_arena_init(&arena, NULL, 0, 0);
    int stop = 0;
    r = chassis_cursor_seek(cursor, chassis_view("\0", 1), &k, &v);
    while (r == 0 && stop == 0) {
        struct bp_sd_key key;
        stop = bp_store_unseal(BP_TABLE_KEYS, k, v, &bp_sd_layout_key, &arena, &key, err);
        stop = stop != 0 ? stop : each(k, key.public_key, data);
        r = chassis_cursor_next(cursor, &k, &v);
    }
    chassis_cursor_close(cursor);
    chassis_arena_fini(&arena);
    if (stop != 0) {
        return stop;
    }
    return r == CHASSIS_NOT_FOUND ? 0 : chassis_error_code(err, r, "walk table 'keys'");
}

int bp_sd_key_get(struct chassis_txn *txn, struct chassis_view key_id,
                  uint8_t ret_public[BP_SD_PUBLIC_KEY_LEN], struct chassis_error *err)
{
    uint8_t room[sizeof(struct bp_sd_key) + 64];
    struct chassis_arena arena;
    chassis_arena_init(&arena, room, sizeof room, 0);
    struct bp_sd_key key;
    int r = key_id.len == 0 || key_id.len > BP_SD_KEY_ID_MAX
                ? CHASSIS_NOT_FOUND
                : bp_store_get(txn, BP_TABLE_KEYS, key_id, &bp_sd_layout_key, &arena, &key, err);
    if (r == 0) {
        memcpy(ret_public, key.public_key.data, BP_SD_PUBLIC_KEY_LEN);
    }
    chassis_arena_fini(&arena);
    return r != CHASSIS_NOT_FOUND ? r
                                  : chassis_error_set(err, r, "no node signs with key '%.*s'",
                                                      CHASSIS_VIEW_ARG(key_id));
}
