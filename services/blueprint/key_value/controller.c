#include "controller.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

#define VALUE_KIND "type.googleapis.com/core.registry.key_value.v1.Value"
enum {
    COMPACT_STEP = 1000, /* revisions of one compaction command: bounded work in apply */
    LEADER_TICK_MS = 1000,
    KEEP_REVISIONS = 10000,
    KEEP_MS = 3600 * 1000,
    HOLD_MAX = 1000000, /* revisions that compaction waits for somebody */
};

/* --- limits --- */

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct chassis_view bp_kv_trim(struct chassis_view text)
{
    while (text.len != 0 && is_space(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len != 0 && is_space(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

static int check_text(struct chassis_view text, const char *what, size_t max,
                      struct chassis_error *err)
{
    if (text.len > max) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "%s has %zu bytes, the limit is %zu", what, text.len, max);
    }
    if (!bp_text_valid(text)) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT, "%s is not valid UTF-8", what);
    }
    return 0;
}

int bp_kv_check_key(struct chassis_view key, struct chassis_error *err)
{
    if (key.len == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the key is empty: 1 to %d bytes are allowed", BP_KV_KEY_MAX);
    }
    return check_text(key, "the key", BP_KV_KEY_MAX, err);
}

int bp_kv_check_kind(struct chassis_view kind, struct chassis_error *err)
{
    if (kind.len == 0) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the value has no type_url, which selects the kind: 1 to %d "
                                 "bytes are allowed",
                                 BP_KV_KIND_MAX);
    }
    return check_text(kind, "the type_url", BP_KV_KIND_MAX, err);
}

int bp_kv_check_prefix(struct chassis_view prefix, struct chassis_error *err)
{
    return check_text(prefix, "the key prefix", BP_KV_KEY_MAX, err);
}

static int check_value(struct chassis_view value, struct chassis_error *err)
{
    if (value.len > BP_KV_VALUE_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the value has %zu bytes, the limit is %d (1 MiB)", value.len,
                                 BP_KV_VALUE_MAX);
    }
    return 0;
}

int bp_kv_check_op(const struct bp_kv_op *op, struct chassis_error *err)
{
    int r = bp_kv_check_key(op->key, err);
    if (r == 0) {
        r = bp_kv_check_kind(op->kind, err);
    }
    if (r == 0) {
        r = check_text(op->lease, "the lease", BP_KV_LEASE_MAX, err);
    }
    return r != 0 ? r : check_value(op->value, err);
}

static int check_ops(const struct bp_array *list, const char *branch, size_t *bytes,
                     struct chassis_error *err)
{
    const struct bp_kv_op *ops = list->items;
    if (list->n > BP_KV_OPS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "%s has %zu operations, the limit is %d", branch, list->n,
                                 BP_KV_OPS_MAX);
    }
    for (size_t i = 0; i < list->n; i++) {
        *bytes += ops[i].value.len;
        int r = bp_kv_check_op(&ops[i], err);
        if (r != 0) {
            return chassis_error_wrap(err, "%s operation %zu", branch, i);
        }
    }
    return 0;
}

int bp_kv_check_txn(const struct bp_kv_txn *txn, struct chassis_error *err)
{
    size_t bytes = 0;
    if (txn->compare.n > BP_KV_OPS_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "the transaction has %zu comparisons, the limit is %d",
                                 txn->compare.n, BP_KV_OPS_MAX);
    }
    const struct bp_kv_compare *compare = txn->compare.items;
    for (size_t i = 0; i < txn->compare.n; i++) {
        bytes += compare[i].value.len;
        int r = bp_kv_check_key(compare[i].key, err);
        if (r == 0) {
            r = bp_kv_check_kind(compare[i].kind, err);
        }
        if (r == 0) {
            r = check_value(compare[i].value, err);
        }
        if (r != 0) {
            return chassis_error_wrap(err, "comparison %zu", i);
        }
    }
    int r = check_ops(&txn->success, "success", &bytes, err);
    if (r == 0) {
        r = check_ops(&txn->failure, "failure", &bytes, err);
    }
    if (r == 0 && bytes > BP_KV_TXN_VALUES_MAX) {
        r = chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                              "the values of the transaction take %zu bytes, the limit is %d",
                              bytes, BP_KV_TXN_VALUES_MAX);
    }
    return r;
}

void bp_kv_encode_write(const struct bp_kv_write *write, struct chassis_buf *out)
{
    bp_codec_encode(&bp_kv_layout_write, BP_CODEC_VERSION, write, out);
}

void bp_kv_encode_txn(const struct bp_kv_txn *txn, struct chassis_buf *out)
{
    bp_codec_encode(&bp_kv_layout_txn, BP_CODEC_VERSION, txn, out);
}

/* --- reading --- */

int bp_read(struct chassis_consensus *consensus,
            int (*read)(struct chassis_txn *txn, void *data, struct chassis_error *err), void *data,
            struct chassis_error *err)
{
    struct chassis_store *store = chassis_consensus_store_acquire(consensus);
    if (store == NULL) {
        return chassis_error_set(err, CHASSIS_UNAVAILABLE, "the store is not open");
    }
    struct chassis_txn *txn;
    int r = chassis_store_begin(store, false, &txn, err);
    if (r == 0) {
        r = read(txn, data, err);
        chassis_txn_abort(txn);
    }
    chassis_consensus_store_release(consensus, store);
    return r;
}

static struct chassis_store *acquire(void *data)
{
    return chassis_consensus_store_acquire(data);
}

static void release(void *data, struct chassis_store *store)
{
    chassis_consensus_store_release(data, store);
}

struct bp_source bp_consensus_source(struct chassis_consensus *consensus)
{
    return (struct bp_source){acquire, release, consensus};
}

static uint32_t token_check(uint64_t revision, struct chassis_view kind, struct chassis_view prefix,
                            struct chassis_view last_key)
{
    uint8_t number[16];
    chassis_put_be64(number, revision);
    chassis_put_be32(number + 8, (uint32_t)kind.len);
    chassis_put_be32(number + 12, (uint32_t)prefix.len);
    uint32_t crc = chassis_crc32c(0, number, sizeof number);
    crc = chassis_crc32c(crc, kind.data, kind.len);
    crc = chassis_crc32c(crc, prefix.data, prefix.len);
    return chassis_crc32c(crc, last_key.data, last_key.len);
}

void bp_kv_token_make(uint64_t revision, struct chassis_view kind, struct chassis_view prefix,
                      struct chassis_view last_key, struct chassis_buf *out)
{
    chassis_buf_printf(out, "%016" PRIx64 "%08" PRIx32, revision,
                       token_check(revision, kind, prefix, last_key));
    chassis_buf_append_view(out, last_key);
}

static bool hex(const uint8_t *text, size_t n, uint64_t *ret_number)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_number = v;
    return true;
}

int bp_kv_token_parse(struct chassis_view token, struct chassis_view kind,
                      struct chassis_view prefix, uint64_t *ret_revision,
                      struct chassis_view *ret_last_key, struct chassis_error *err)
{
    uint64_t revision, check;
    if (token.len > 24 && token.len <= 24 + BP_KV_KEY_MAX && hex(token.data, 16, &revision) &&
        hex(token.data + 16, 8, &check) && revision != 0) {
        struct chassis_view last = chassis_view(token.data + 24, token.len - 24);
        if (check == token_check(revision, kind, prefix, last)) {
            *ret_revision = revision;
            *ret_last_key = last;
            return 0;
        }
    }
    return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                             "the page token is not one of this list: give it back unchanged, "
                             "with the same kind and prefix");
}

/* --- what the leader does by itself --- */

static void arm(struct bp_kv *kv, uint64_t delay_ms)
{
    if (kv->leader && !kv->stopping) {
        chassis_post_after(kv->options.loop, &kv->timer, delay_ms * CHASSIS_NS_PER_MS);
    }
}

struct compaction {
    const struct bp_kv_options *options;
    int64_t now_ns; /* wall clock */
    uint64_t hold;
    uint64_t target;
};

/* The time of the first version at or after a revision. */
static int time_of(struct chassis_txn *txn, uint64_t revision, int64_t *ret_time_ns,
                   struct chassis_error *err)
{
    struct chassis_cursor *cursor;
    int r = chassis_cursor_open(txn, BP_TABLE_REVS, &cursor);
    if (r != 0) {
        return r;
    }
    struct bp_key key;
    struct chassis_view k, v;
    bp_key_position(&key, (struct bp_position){revision, 0});
    r = chassis_cursor_seek(cursor, bp_key_view(&key), &k, &v);
    if (r == 0) {
        struct bp_kv_version version;
        uint8_t room[sizeof version + 64];
        struct chassis_arena arena;
        chassis_arena_init(&arena, room, sizeof room, 0);
        r = bp_store_unseal(BP_TABLE_REVS, k, v, &bp_kv_layout_version, &arena, &version, err);
        *ret_time_ns = r == 0 ? version.time_ns : 0;
        chassis_arena_fini(&arena);
    }
    chassis_cursor_close(cursor);
    return r;
}

static int plan_compaction(struct chassis_txn *txn, void *data, struct chassis_error *err)
{
    struct compaction *c = data;
    uint64_t revision, floor;
    int r = bp_kv_revisions(txn, &revision, &floor, err);
    uint64_t target = floor + c->options->compact_step;
    if (c->hold < revision && revision - c->hold <= HOLD_MAX && target > c->hold) {
        target = c->hold;
    }
    if (r != 0 || target + c->options->keep_revisions > revision || target <= floor) {
        return r;
    }
    int64_t time_ns;
    r = time_of(txn, target, &time_ns, err);
    if (r == CHASSIS_NOT_FOUND) {
        return 0;
    }
    if (r == 0 && c->now_ns - time_ns > (int64_t)(c->options->keep_ms * CHASSIS_NS_PER_MS)) {
        c->target = target;
    }
    return r;
}

static void own_done(struct chassis_proposal *proposal)
{
    struct bp_kv *kv = chassis_container_of(proposal, struct bp_kv, proposal);
    kv->proposing = false;
    bool compacted = kv->compacting_to != 0;
    if (proposal->status != 0) {
        /* Another node leads, or will be asked again at the next tick. */
        chassis_log_info(kv->log, compacted ? "compaction not done" : "leader record not written",
                         chassis_f_code(proposal->status));
    } else if (compacted) {
        chassis_log_debug(kv->log, "compacted", chassis_f_u64("revision", kv->compacting_to));
    } else {
        kv->leader_recorded = true;
    }
    chassis_buf_fini(&proposal->result);
    arm(kv, proposal->status == 0 && compacted ? 1 : LEADER_TICK_MS);
}

static void propose_own(struct bp_kv *kv)
{
    kv->proposing = true;
    kv->proposal.executor = kv->options.loop;
    kv->proposal.done = own_done;
    chassis_consensus_propose(kv->options.consensus, &kv->proposal);
}

static const struct chassis_consensus_member *self_of(const struct chassis_consensus_status *status)
{
    for (unsigned i = 0; i < status->n_members; i++) {
        if (status->members[i].id == status->id) {
            return &status->members[i];
        }
    }
    return NULL;
}

/* Key `leader` of kind Value: the URL of this node's RPC endpoint. */
static void record_leader(struct bp_kv *kv)
{
    struct chassis_consensus_status status;
    chassis_consensus_status(kv->options.consensus, &status);
    const struct chassis_consensus_member *self = self_of(&status);
    if (self == NULL) {
        arm(kv, LEADER_TICK_MS);
        return;
    }
    struct chassis_buf url = {0}, value = {0};
    chassis_buf_printf(&url, "%s://%s", kv->options.scheme, self->service);
    chassis_buf_append_byte(&value, 0x0a); /* Value.data: field 1, length-delimited */
    chassis_buf_append_block(&value, chassis_buf_view(&url));
    struct bp_kv_write write = {
        .actor = chassis_view_str(self->name),
        .op = {.type = BP_KV_OP_SET,
               .kind = chassis_view_str(VALUE_KIND),
               .key = chassis_view_str("leader"),
               .value = chassis_buf_view(&value)},
    };
    memset(&kv->proposal, 0, sizeof kv->proposal);
    kv->compacting_to = 0;
    bp_kv_encode_write(&write, &kv->proposal.command);
    chassis_buf_fini(&url);
    chassis_buf_fini(&value);
    propose_own(kv);
}

static void compact(struct bp_kv *kv)
{
    /* Entries carry the leader's wall clock; asking the clock here only chooses what is proposed. */
    struct compaction c = {&kv->options, chassis_wall_ns(kv->options.clock), kv->hold, 0};
    struct chassis_error err = {0};
    if (bp_read(kv->options.consensus, plan_compaction, &c, &err) != 0) {
        chassis_log_warn(kv->log, "cannot plan a compaction", chassis_f_err(&err));
    }
    if (c.target == 0) {
        arm(kv, LEADER_TICK_MS);
        return;
    }
    struct bp_kv_compact command = {c.target};
    memset(&kv->proposal, 0, sizeof kv->proposal);
    kv->compacting_to = c.target;
    bp_codec_encode(&bp_kv_layout_compact, BP_CODEC_VERSION, &command, &kv->proposal.command);
    propose_own(kv);
}

static void tick(struct chassis_timer *timer)
{
    struct bp_kv *kv = chassis_container_of(timer, struct bp_kv, timer);
    if (!kv->leader || kv->stopping || kv->proposing) {
        return;
    }
    if (kv->leader_recorded) {
        compact(kv);
    } else {
        record_leader(kv);
    }
}

void bp_kv_start(struct bp_kv *kv, const struct bp_kv_options *options)
{
    memset(kv, 0, sizeof *kv);
    kv->options = *options;
    kv->options.scheme = options->scheme != NULL ? options->scheme : "http";
    kv->options.clock = options->clock != NULL ? options->clock : chassis_clock_posix();
    kv->options.keep_revisions =
        options->keep_revisions != 0 ? options->keep_revisions : KEEP_REVISIONS;
    kv->options.compact_step = options->compact_step != 0 ? options->compact_step : COMPACT_STEP;
    kv->options.keep_ms = options->keep_ms != 0 ? options->keep_ms : KEEP_MS;
    kv->log = chassis_log_module("blueprint.key_value");
    kv->timer.run = tick;
    kv->hold = UINT64_MAX;
    struct bp_source source = bp_consensus_source(options->consensus);
    bp_feed_init(&kv->feed, &bp_kv_feed_ops, &source, options->loop, kv->log);
}

void bp_kv_drain(struct bp_kv *kv)
{
    struct chassis_error err = {0};
    chassis_error_set(&err, CHASSIS_SHUTTING_DOWN, "the node is shutting down: watch at another");
    bp_feed_close(&kv->feed, &err);
}

void bp_kv_stop(struct bp_kv *kv)
{
    kv->stopping = true;
    chassis_cancel(kv->options.loop, &kv->timer);
    bp_kv_drain(kv);
    bp_feed_fini(&kv->feed);
}

void bp_kv_leadership(struct bp_kv *kv, bool leader)
{
    kv->leader = leader;
    kv->leader_recorded = false;
    if (!leader) {
        chassis_cancel(kv->options.loop, &kv->timer);
    } else if (!kv->proposing) {
        arm(kv, 0);
    }
}

void bp_kv_committed(struct bp_kv *kv)
{
    bp_feed_notify(&kv->feed);
}
