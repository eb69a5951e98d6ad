#include "truth.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

void truth_fini(struct truth *t)
{
    for (unsigned i = 0; i < TRUTH_LOGS; i++) {
        free(t->logs[i].rows);
    }
}

void truth_wrong(struct truth *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!t->quiet) {
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
    }
    va_end(args);
    t->wrong = true;
}

void truth_copy(char *out, size_t size, struct chassis_view text)
{
    snprintf(out, size, "%.*s", CHASSIS_VIEW_ARG(text));
}

uint64_t truth_number(struct chassis_view text)
{
    char number[24];
    truth_copy(number, sizeof number, text);
    return strtoull(number, NULL, 10);
}

static struct truth_row *add(struct truth *t, enum truth_log log, struct bp_position at)
{
    struct truth_rows *l = &t->logs[log];
    if (l->n == l->cap) {
        l->cap = l->cap != 0 ? l->cap * 2 : 256;
        l->rows = chassis_base_realloc(l->rows, l->cap * sizeof *l->rows);
    }
    struct truth_row *row = &l->rows[l->n++];
    *row = (struct truth_row){.revision = at.revision, .sub = at.sub};
    return row;
}

static void note_version(struct truth *t, struct chassis_txn *txn, struct bp_position at,
                         const struct bp_kv_version *v)
{
    struct chassis_view kind;
    CHASSIS_ASSERT(bp_kv_kind_name(txn, v->kind, &kind, NULL) == 0);
    bool leased = chassis_view_eq(kind, chassis_view_str(TRUTH_LEASES));
    if (!leased && !chassis_view_eq(kind, chassis_view_str(TRUTH_KIND))) {
        return; /* the leader record */
    }
    struct truth_row *row = add(t, leased ? TRUTH_LEASED : TRUTH_REGISTERS, at);
    row->deleted = v->deleted;
    row->value = v->deleted ? 0 : truth_number(v->value);
    truth_copy(row->key, sizeof row->key, v->key);
    truth_copy(row->lease, sizeof row->lease, v->lease);
}

/* The rows of a table that are newer than what is known. */
static void note_table(struct truth *t, struct chassis_txn *txn, enum bp_table table)
{
    struct chassis_cursor *cursor;
    struct chassis_view k, v;
    struct bp_key from;
    bp_key_position(&from, (struct bp_position){t->revision + 1, 0});
    CHASSIS_ASSERT(chassis_cursor_open(txn, table, &cursor) == 0);
    int r = chassis_cursor_seek(cursor, bp_key_view(&from), &k, &v);
    for (; r == 0; r = chassis_cursor_next(cursor, &k, &v)) {
        struct chassis_arena arena;
        chassis_arena_init(&arena, NULL, 0, 0);
        if (table == BP_TABLE_REVS) {
            struct bp_kv_version version;
            CHASSIS_ASSERT(
                bp_store_unseal(table, k, v, &bp_kv_layout_version, &arena, &version, NULL) == 0);
            note_version(t, txn, bp_position_of(k), &version);
        } else {
            struct bp_sd_transition transition;
            CHASSIS_ASSERT(bp_store_unseal(table, k, v, &bp_sd_layout_transition, &arena,
                                           &transition, NULL) == 0);
            struct truth_row *row = add(t, TRUTH_TRANSITIONS, bp_position_of(k));
            row->value = transition.type;
            truth_copy(row->key, sizeof row->key, transition.process.pid);
        }
        chassis_arena_fini(&arena);
    }
    chassis_cursor_close(cursor);
}

/* The newest row of a leased key. */
static bool lease_lives(const struct truth *t, const char *pid)
{
    const struct truth_rows *l = &t->logs[TRUTH_LEASED];
    for (size_t i = 0; i < l->n; i++) {
        if (l->rows[i].deleted || strcmp(l->rows[i].lease, pid) != 0) {
            continue;
        }
        bool newest = true;
        for (size_t k = i + 1; k < l->n && newest; k++) {
            newest = strcmp(l->rows[k].key, l->rows[i].key) != 0;
        }
        if (newest) {
            return true;
        }
    }
    return false;
}

/* Who left took its records along, in the same revision. */
static void check_leases(struct truth *t, size_t from)
{
    const struct truth_rows *l = &t->logs[TRUTH_TRANSITIONS];
    for (size_t i = from; i < l->n; i++) {
        const struct truth_row *row = &l->rows[i];
        if ((row->value == BP_SD_EVENT_LEFT || row->value == BP_SD_EVENT_EXPIRED) &&
            lease_lives(t, row->key)) {
            truth_wrong(t, "process %s went at revision %llu, its records did not", row->key,
                        (unsigned long long)row->revision);
        }
    }
}

void truth_note(struct truth *t, struct chassis_txn *txn)
{
    uint64_t revision, floor;
    CHASSIS_ASSERT(bp_kv_revisions(txn, &revision, &floor, NULL) == 0);
    t->floor = floor > t->floor ? floor : t->floor;
    if (revision <= t->revision) {
        return;
    }
    if (revision != t->revision + 1) {
        truth_wrong(t, "a command took the revisions from %llu to %llu",
                    (unsigned long long)t->revision + 1, (unsigned long long)revision);
    }
    size_t transitions = t->logs[TRUTH_TRANSITIONS].n;
    note_table(t, txn, BP_TABLE_REVS);
    note_table(t, txn, BP_TABLE_TRANSITIONS);
    t->revision = revision;
    check_leases(t, transitions);
}

size_t truth_find(const struct truth *t, enum truth_log log, uint64_t revision)
{
    const struct truth_rows *l = &t->logs[log];
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->rows[middle].revision < revision) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t truth_register(const struct truth *t, const char *key, uint64_t revision)
{
    for (size_t i = truth_find(t, TRUTH_REGISTERS, revision + 1); i > 0; i--) {
        const struct truth_row *row = &t->logs[TRUTH_REGISTERS].rows[i - 1];
        if (strcmp(row->key, key) == 0) {
            return row->value;
        }
    }
    return 0;
}
