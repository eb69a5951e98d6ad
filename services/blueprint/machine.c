#include "machine.h"

#include "base/assert.h"
#include "verify.h"

int bp_machine_apply(struct chassis_txn *txn, const struct chassis_entry *entry,
                     struct chassis_buf *ret_result)
{
    struct bp_change change;
    bp_change_begin(&change, txn, entry->time_ns, ret_result);
    uint8_t id = bp_codec_id(entry->command);
    int r = id >= BP_SD_REGISTER && id < BP_COMMANDS_END ? bp_sd_apply(&change, entry->command)
                                                         : bp_kv_apply(&change, entry->command);
    CHASSIS_ASSERT(r == 0 || !change.changed);
    if (r == CHASSIS_BAD_VERSION) {
        /* Nodes propose only what all voters announced: this one is older than it said. */
        CHASSIS_PANIC("cannot apply entry %llu: %.*s", (unsigned long long)entry->index,
                      CHASSIS_VIEW_ARG(chassis_buf_view(ret_result)));
    }
    bp_change_end(&change);
    return r;
}

static int apply(void *data, struct chassis_txn *txn, const struct chassis_entry *entry,
                 struct chassis_buf *ret_result)
{
    return bp_machine_apply(txn, entry, ret_result);
}

static bool started(struct blueprint *b)
{
    return __atomic_load_n(&b->started, __ATOMIC_ACQUIRE);
}

static void committed(void *data, uint64_t applied)
{
    struct blueprint *b = data;
    if (started(b)) {
        bp_kv_committed(&b->kv);
        bp_sd_committed(&b->sd);
        if (b->follower.committed != NULL) {
            b->follower.committed(b->follower.data);
        }
    }
}

static bool watched(void *data)
{
    struct blueprint *b = data;
    return started(b) && (bp_feed_watched(&b->kv.feed) || bp_feed_watched(&b->sd.feed));
}

/* Watchers compare their place with the new store's floor by themselves. */
static void restored(void *data)
{
    committed(data, 0);
}

static void tell_leadership(struct blueprint *b)
{
    bp_kv_leadership(&b->kv, b->leader);
    bp_sd_leadership(&b->sd, b->leader);
    if (b->follower.leadership != NULL) {
        b->follower.leadership(b->follower.data, b->leader);
    }
}

static void leadership(void *data, bool leader, uint64_t term)
{
    struct blueprint *b = data;
    b->leader = leader;
    if (started(b)) {
        tell_leadership(b);
    }
}

static void note_fault(const char *text, void *data)
{
    struct chassis_error *err = data;
    if (err->code == 0) {
        chassis_error_set(err, CHASSIS_CORRUPT, "%s", text);
    }
}

static int verify(void *data, struct chassis_store *store, struct chassis_error *err)
{
    struct chassis_error fault = {0};
    int r = bp_verify_store(store, "store", note_fault, &fault, err);
    return r == 0 && fault.code != 0 ? chassis_error_set(err, fault.code, "%s", fault.text) : r;
}

static int ask(void *data, uint64_t from, struct chassis_view question,
               struct chassis_buf *ret_answer)
{
    struct blueprint *b = data;
    return started(b) ? bp_sd_ask(&b->sd, question, ret_answer) : CHASSIS_UNAVAILABLE;
}

static int ask_node(void *data, uint64_t from, struct chassis_view question,
                    struct chassis_buf *ret_answer)
{
    struct blueprint *b = data;
    return b->describe != NULL ? b->describe(b->describe_data, ret_answer) : CHASSIS_UNIMPLEMENTED;
}

const struct chassis_state_machine_ops bp_machine_ops = {
    .apply = apply,
    .committed = committed,
    .watched = watched,
    .restored = restored,
    .verify = verify,
    .leadership = leadership,
    .ask = ask,
    .ask_node = ask_node,
    .version = BP_CODEC_VERSION,
};

struct chassis_state_machine bp_machine(struct blueprint *blueprint)
{
    return (struct chassis_state_machine){&bp_machine_ops, blueprint, bp_tables, BP_TABLES};
}

void bp_blueprint_start(struct blueprint *b, const struct bp_kv_options *kv,
                        const struct bp_sd_options *sd)
{
    bp_kv_start(&b->kv, kv);
    bp_sd_start(&b->sd, sd);
    __atomic_store_n(&b->started, true, __ATOMIC_RELEASE);
    tell_leadership(b);
}

void bp_blueprint_drain(void *blueprint)
{
    struct blueprint *b = blueprint;
    bp_kv_drain(&b->kv);
    bp_sd_drain(&b->sd);
}

void bp_blueprint_stop(struct blueprint *b)
{
    __atomic_store_n(&b->started, false, __ATOMIC_RELEASE);
    bp_kv_stop(&b->kv);
    bp_sd_stop(&b->sd);
}
