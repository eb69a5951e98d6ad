/* Any bytes, read as the configuration and as the place of a group: no crash, and what decodes,
 * encodes to something that decodes to the same bytes again. */
#include <stdlib.h>

#include "catalyst/groups/codec.h"

static void check(const struct chassis_buf *once, const struct chassis_buf *twice)
{
    if (!chassis_view_eq(chassis_buf_view(once), chassis_buf_view(twice))) {
        abort();
    }
}

static void read_group(struct chassis_view input)
{
    struct cat_group_row row, again;
    struct chassis_buf once = {0}, twice = {0};
    if (cat_group_row_decode(input, &row, NULL) == 0) {
        cat_group_row_encode(&row, &once);
        if (cat_group_row_decode(chassis_buf_view(&once), &again, NULL) != 0) {
            abort();
        }
        cat_group_row_encode(&again, &twice);
        check(&once, &twice);
    }
    chassis_buf_fini(&once);
    chassis_buf_fini(&twice);
}

static void read_place(struct chassis_view input, bool ordered)
{
    const int64_t wall_ms = 1700000000000;
    struct cat_place_rules rules = {
        .ack_wait_ns = 1, .deliveries_max = 3, .in_flight_max = 10, .ordered = ordered};
    struct cat_place place;
    struct cat_runs runs = {0};
    struct chassis_buf rows[2] = {{0}};
    cat_place_init(&place, &rules, 1);
    if (cat_place_row_decode(input, 5, wall_ms, &place, &runs, NULL) == 0) {
        for (unsigned i = 0; i < 2; i++) {
            cat_place_row_encode(&place, &runs, 5, wall_ms, &rows[i]);
            cat_place_seek(&place, 1);
            cat_runs_fini(&runs);
            if (cat_place_row_decode(chassis_buf_view(&rows[i]), 5, wall_ms, &place, &runs, NULL)) {
                abort();
            }
        }
        check(&rows[0], &rows[1]);
    }
    for (struct cat_entry *e; (e = cat_place_bury(&place)) != NULL;) {
        cat_place_done(&place, e, 5);
    }
    cat_place_fini(&place);
    cat_runs_fini(&runs);
    chassis_buf_fini(&rows[0]);
    chassis_buf_fini(&rows[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chassis_view input = chassis_view(data, size);
    read_group(input);
    read_place(input, false);
    read_place(input, true);
    return 0;
}
