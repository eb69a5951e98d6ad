/* What clients ask, and what they may be answered. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "blueprint_workload.h"

#define ACTOR chassis_view_str("client")

static struct chassis_view text_of(uint64_t number, char out[24])
{
    snprintf(out, 24, "%" PRIu64, number);
    return chassis_view_str(out);
}

/* --- registers --- */

static void encode_write(const struct bp_kv_op *op, struct chassis_buf *out)
{
    struct bp_kv_write write = {ACTOR, *op};
    struct chassis_error err = {0};
    CHASSIS_ASSERT(bp_kv_check_op(op, &err) == 0);
    bp_kv_encode_write(&write, out);
}

static void next_write(struct load *load, struct sim_op *op, struct chassis_buf *out)
{
    char key[24], value[24];
    bool deletes = op->flavour == F_DELETE;
    op->kind = op->flavour == F_CAS_REVISION ? SIM_CAS : SIM_WRITE;
    op->value = deletes ? 0 : ++load->next_value;
    struct bp_kv_op write = {.type = deletes ? BP_KV_OP_DELETE : BP_KV_OP_SET,
                             .kind = chassis_view_str(TRUTH_KIND),
                             .key = text_of(op->key, key)};
    if (!deletes) {
        write.value = text_of(op->value, value);
    }
    if (op->kind == SIM_CAS) {
        write.has_expected = true;
        write.expected = load->known[op->client][op->key].revision;
        op->expected = load->known[op->client][op->key].value;
    }
    encode_write(&write, out);
}

/* If a register is what this client thinks: set it, and for F_TXN another one too. */
static void next_txn(struct load *load, struct chassis_prng *prng, struct sim_op *op,
                     struct chassis_buf *out)
{
    char key[24], other[24], value[24], second[24], expected[24];
    op->kind = SIM_CAS;
    op->value = ++load->next_value;
    op->expected = load->known[op->client][op->key].value;
    op->detail[0] = op->flavour == F_TXN ? ++load->next_value : 0;
    op->detail[1] = (op->key + 1 + chassis_prng_below(prng, LOAD_KEYS - 1)) % LOAD_KEYS;
    struct chassis_view kind = chassis_view_str(TRUTH_KIND), at = text_of(op->key, key);
    struct bp_kv_op success[] = {
        {.type = BP_KV_OP_SET, .kind = kind, .key = at, .value = text_of(op->value, value)},
        {.type = BP_KV_OP_SET,
         .kind = kind,
         .key = text_of(op->detail[1], other),
         .value = text_of(op->detail[0], second)},
    };
    struct bp_kv_op failure = {.type = BP_KV_OP_GET, .kind = kind, .key = at};
    struct bp_kv_compare compare = {.target = op->expected != 0 ? BP_KV_TARGET_VALUE
                                                                : BP_KV_TARGET_EXISTS,
                                    .kind = kind,
                                    .key = at};
    if (op->expected != 0) {
        compare.value = text_of(op->expected, expected);
    }
    struct bp_kv_txn txn = {
        ACTOR, {&compare, 1}, {success, op->flavour == F_TXN ? 2 : 1}, {&failure, 1}};
    struct chassis_error err = {0};
    CHASSIS_ASSERT(bp_kv_check_txn(&txn, &err) == 0);
    bp_kv_encode_txn(&txn, out);
}

/* An acknowledged change is in the log, at the revision that was told. */
static void acknowledged(struct load *load, const struct sim_op *op, enum truth_log log,
                         uint64_t revision, uint64_t value)
{
    const struct truth_rows *l = &load->truth.logs[log];
    size_t i = truth_find(&load->truth, log, revision);
    bool found = false;
    for (; i < l->n && l->rows[i].revision == revision && !found; i++) {
        found = l->rows[i].value == value;
    }
    if (!found) {
        truth_wrong(&load->truth,
                    "client %u was told revision %" PRIu64 " for value %" PRIu64
                    ", which is not there",
                    op->client, revision, value);
    }
    load->acknowledged = revision > load->acknowledged ? revision : load->acknowledged;
}

static bool wrote_register(struct load *load, struct sim_op *op, int status,
                           struct chassis_view result)
{
    if (op->kind == SIM_CAS && status == CHASSIS_ABORTED) {
        op->swapped = false;
        return true;
    }
    if (op->flavour == F_DELETE && status == CHASSIS_NOT_FOUND) {
        op->kind = SIM_READ; /* it said that there is none */
        return true;
    }
    if (status != 0) {
        return false;
    }
    struct bp_kv_result r;
    struct chassis_arena arena;
    chassis_arena_init(&arena, NULL, 0, 0);
    CHASSIS_ASSERT(bp_codec_decode(&bp_kv_layout_result, result, &arena, &r, NULL) == 0);
    chassis_arena_fini(&arena);
    if (op->flavour == F_DELETE && !r.found) {
        op->kind = SIM_READ;
        return true;
    }
    op->swapped = true;
    acknowledged(load, op, TRUTH_REGISTERS, r.revision, op->value);
    return true;
}

static void add_other(struct load *load, const struct sim_op *op, enum sim_op_kind kind,
                      unsigned key, uint64_t value)
{
    struct sim_op other = *op;
    other.kind = kind;
    other.key = key;
    other.value = value;
    sim_history_add(load->base.history, &other);
}

static bool wrote_txn(struct load *load, struct sim_op *op, int status, struct chassis_view result)
{
    struct bp_kv_txn_result r;
    struct chassis_arena arena;
    if (status != 0) {
        return false;
    }
    chassis_arena_init(&arena, NULL, 0, 0);
    CHASSIS_ASSERT(bp_codec_decode(&bp_kv_layout_txn_result, result, &arena, &r, NULL) == 0);
    op->swapped = r.succeeded;
    if (r.succeeded) {
        acknowledged(load, op, TRUTH_REGISTERS, r.revision, op->value);
        if (op->flavour == F_TXN) {
            acknowledged(load, op, TRUTH_REGISTERS, r.revision, op->detail[0]);
            add_other(load, op, SIM_WRITE, (unsigned)op->detail[1], op->detail[0]);
        }
    } else {
        const struct bp_kv_result *got = r.results.items;
        CHASSIS_ASSERT(r.results.n == 1);
        add_other(load, op, SIM_READ, op->key, got->found ? truth_number(got->value) : 0);
    }
    chassis_arena_fini(&arena);
    return true;
}

/* --- processes --- */

static void next_register(struct load *load, struct sim_op *op, struct process *p,
                          struct chassis_buf *out)
{
    char name[24], nonce[40], pid[64];
    if (p->state == P_NONE) {
        *p = (struct process){.state = P_JOINING, .nonce = ++load->next_nonce};
    }
    op->flavour = F_REGISTER;
    snprintf(name, sizeof name, "service-%u", op->client);
    snprintf(nonce, sizeof nonce, "nonce-%016" PRIu64, p->nonce);
    snprintf(pid, sizeof pid, "p-%" PRIu64 "-%" PRIu64, p->nonce, ++p->tries);
    struct bp_sd_register command = {.actor = ACTOR,
                                     .pid = chassis_view_str(pid),
                                     .name = chassis_view_str(name),
                                     .nonce = chassis_view_str(nonce)};
    bp_codec_encode(&bp_sd_layout_register, BP_CODEC_VERSION, &command, out);
}

static void next_lease(struct load *load, struct sim_op *op, const struct process *p,
                       uint64_t number, struct chassis_buf *out)
{
    char key[40], value[24];
    snprintf(key, sizeof key, "l%u-%" PRIu64, op->client, number % 4);
    op->value = ++load->next_value;
    struct bp_kv_op write = {.type = number % 5 == 4 ? BP_KV_OP_DELETE : BP_KV_OP_SET,
                             .kind = chassis_view_str(TRUTH_LEASES),
                             .key = chassis_view_str(key)};
    if (write.type == BP_KV_OP_SET) {
        write.value = text_of(op->value, value);
        write.lease = chassis_view_str(p->pid);
    } else {
        op->value = 0;
    }
    encode_write(&write, out);
}

static void next_report(struct sim_op *op, struct process *p, struct chassis_buf *out)
{
    char address[40];
    struct bp_sd_text service = {chassis_view_str("sim.v1.Sim")};
    snprintf(address, sizeof address, "host:%" PRIu64, ++p->reports / 2);
    struct bp_sd_report report = {.actor = ACTOR,
                                  .pid = chassis_view_str(p->pid),
                                  .incarnation = p->incarnation,
                                  .details = {.running = BP_SD_RUNNING,
                                              .health = BP_SD_HEALTHY,
                                              .address = chassis_view_str(address),
                                              .services = {&service, 1}}};
    struct chassis_error err = {0};
    CHASSIS_ASSERT(bp_sd_check_details(&report.details, &err) == 0);
    bp_codec_encode(&bp_sd_layout_report, BP_CODEC_VERSION, &report, out);
}

static void next_process(struct load *load, struct chassis_prng *prng, struct sim_op *op,
                         struct chassis_buf *out)
{
    struct process *p = &load->processes[op->client];
    uint64_t dice = chassis_prng_below(prng, 100);
    op->kind = SIM_OTHER;
    if (p->state == P_THERE && dice >= 93) {
        p->state = P_NONE; /* it dies without a word; another one begins */
        load->operations[F_SILENT]++;
    }
    if (p->state != P_THERE) {
        next_register(load, op, p, out);
    } else if (dice < 45) {
        op->flavour = F_REPORT;
        next_report(op, p, out);
    } else if (dice < 78) {
        op->flavour = F_LEASE;
        next_lease(load, op, p, chassis_prng_below(prng, 20), out);
    } else if (dice < 86) {
        op->flavour = F_HEALTH;
        struct bp_sd_set_health health = {.actor = ACTOR,
                                          .pid = chassis_view_str(p->pid),
                                          .incarnation = p->incarnation,
                                          .health =
                                              dice % 2 == 0 ? BP_SD_HEALTHY : BP_SD_UNHEALTHY};
        bp_codec_encode(&bp_sd_layout_set_health, BP_CODEC_VERSION, &health, out);
    } else {
        op->flavour = F_FINALIZE;
        struct bp_sd_remove remove = {.actor = ACTOR,
                                      .pid = chassis_view_str(p->pid),
                                      .reason = chassis_view_str("finalized"),
                                      .removal = BP_SD_FINALIZED};
        bp_codec_encode(&bp_sd_layout_remove, BP_CODEC_VERSION, &remove, out);
    }
}

static void joined(struct process *p, int status, struct chassis_view result)
{
    struct bp_sd_register_result r;
    struct chassis_arena arena;
    if (status != 0) {
        p->state = status == CHASSIS_ALREADY_EXISTS ? P_NONE : P_JOINING;
        return;
    }
    chassis_arena_init(&arena, NULL, 0, 0);
    CHASSIS_ASSERT(bp_codec_decode(&bp_sd_layout_register_result, result, &arena, &r, NULL) == 0);
    truth_copy(p->pid, sizeof p->pid, r.pid);
    p->incarnation = r.incarnation;
    p->state = P_THERE;
    chassis_arena_fini(&arena);
}

static bool has_left(const struct truth *t, const char *pid)
{
    const struct truth_rows *l = &t->logs[TRUTH_TRANSITIONS];
    for (size_t i = l->n; i > 0; i--) {
        if (strcmp(l->rows[i - 1].key, pid) == 0) {
            return l->rows[i - 1].value == BP_SD_EVENT_LEFT;
        }
    }
    return false;
}

static void wrote_process(struct load *load, struct sim_op *op, int status,
                          struct chassis_view result)
{
    struct process *p = &load->processes[op->client];
    if (op->flavour == F_REGISTER) {
        joined(p, status, result);
    } else if (op->flavour == F_FINALIZE) {
        if (status == 0 && !has_left(&load->truth, p->pid)) {
            truth_wrong(&load->truth, "process %s was finalized, it did not leave", p->pid);
        }
        p->state = P_NONE;
    } else if (op->flavour == F_LEASE && status == 0 && op->value != 0) {
        struct bp_kv_result r;
        struct chassis_arena arena;
        chassis_arena_init(&arena, NULL, 0, 0);
        CHASSIS_ASSERT(bp_codec_decode(&bp_kv_layout_result, result, &arena, &r, NULL) == 0);
        acknowledged(load, op, TRUTH_LEASED, r.revision, op->value);
        chassis_arena_fini(&arena);
    } else if ((status == CHASSIS_NOT_FOUND && op->flavour != F_LEASE) ||
               status == CHASSIS_FAILED_PRECONDITION) {
        p->state = P_NONE; /* it was taken for dead */
    }
}

/* --- what the harness asks --- */

static enum load_flavour flavour_of(uint64_t dice)
{
    static const uint8_t shares[] = {
        [F_GET] = 24,   [F_LIST] = 9,      [F_AT] = 7,  [F_SET] = 18,
        [F_DELETE] = 4, [F_CAS_VALUE] = 7, [F_TXN] = 7, [F_CAS_REVISION] = 7};
    unsigned flavour = 0;
    while (flavour < F_REGISTER && dice >= shares[flavour]) {
        dice -= shares[flavour++];
    }
    return (enum load_flavour)flavour;
}

void load_next(struct sim_workload *w, struct chassis_prng *prng, struct sim_op *op,
               struct chassis_buf *ret_command)
{
    struct load *load = load_of(w);
    op->key = (unsigned)chassis_prng_below(prng, LOAD_KEYS);
    op->flavour = flavour_of(chassis_prng_below(prng, 100));
    switch ((enum load_flavour)op->flavour) {
    case F_GET:
    case F_LIST:
    case F_AT:
        op->kind = chassis_prng_chance(prng, 0.35) ? SIM_STALE : SIM_READ;
        op->detail[0] = load->acknowledged;
        op->detail[1] = chassis_prng_next(prng);
        break;
    case F_SET:
    case F_DELETE:
    case F_CAS_REVISION:
        next_write(load, op, ret_command);
        break;
    case F_CAS_VALUE:
    case F_TXN:
        next_txn(load, prng, op, ret_command);
        break;
    case F_REGISTER:
    case F_REPORT:
    case F_HEALTH:
    case F_LEASE:
    case F_FINALIZE:
    case F_SILENT:
    case FLAVOURS:
        next_process(load, prng, op, ret_command);
        break;
    }
}

bool load_wrote(struct sim_workload *w, struct sim_op *op, int status, struct chassis_view result)
{
    struct load *load = load_of(w);
    load->operations[op->flavour]++;
    if (op->unknown) {
        if (op->flavour == F_TXN) {
            add_other(load, op, SIM_WRITE, (unsigned)op->detail[1], op->detail[0]);
        } else if (op->flavour == F_FINALIZE) {
            load->processes[op->client].state = P_NONE;
        }
        return true;
    }
    if (op->kind == SIM_OTHER) {
        wrote_process(load, op, status, result);
        return status == 0;
    }
    if (op->flavour == F_TXN || op->flavour == F_CAS_VALUE) {
        return wrote_txn(load, op, status, result);
    }
    return wrote_register(load, op, status, result);
}
