/* Streams whose log cannot be opened at the start, because their engine cannot be reached: they are
 * tried again until it can. Those of the journal are open at once.
 */
#include "catalyst/broker/codec.h"
#include "catalyst/broker/internal.h"

#define AGAIN_NS (2 * CHASSIS_NS_PER_S)

static void arm(struct cat_broker *b)
{
    if (!b->closing) {
        chassis_post_after(b->loop, &b->away, AGAIN_NS);
    }
}

static void show(struct stream *s, struct cat_log *log)
{
    struct cat_broker *b = s->broker;
    struct cat_number_key key = cat_number_key(s->number);
    struct chassis_view row;
    uint64_t floor = 1;
    if (cat_catalog_get(b->catalog, CAT_ROW_FLOOR, chassis_view(key.bytes, sizeof key), &row) ==
        0) {
        cat_number_row_decode(row, &floor, NULL);
    }
    if (s->phase == STREAM_AWAY && --b->n_away == 0) {
        chassis_log_info(b->log, "every stream is open");
    }
    cat_adopt_log(s, log, floor);
    cat_model_show(b, s);
    cat_retention_arm(s);
    cat_retention_check(s);
}

static void on_opened(void *data, struct cat_log *log, const struct chassis_error *err)
{
    struct stream *s = data;
    struct cat_broker *b = s->broker;
    s->changing = false;
    b->n_opening--;
    if (b->closing) {
        if (log != NULL) {
            log->ops->close(log);
        }
        cat_broker_close_if_idle(b);
        return;
    }
    if (log != NULL) {
        show(s, log);
        return;
    }
    if (!s->away_told) { /* once, not every two seconds */
        chassis_log_error(b->log, "a stream is away, what it takes is refused",
                          chassis_f_view("stream", stream_name(s)), chassis_f_err(err));
        s->away_told = true;
    }
    if (s->phase != STREAM_AWAY) {
        cat_model_await(b, s);
        b->n_away++;
    }
    arm(b);
}

void cat_away_open(struct stream *s)
{
    struct cat_broker *b = s->broker;
    struct cat_log_engine *engine;
    struct chassis_error err = {0};
    s->changing = true;
    b->n_opening++;
    if (s->phase != STREAM_AWAY &&
        !chassis_view_eq(s->config->is.backend, chassis_view_str("journal"))) {
        cat_model_await(b, s); /* until then nothing of it may go elsewhere */
        b->n_away++;
    }
    if (cat_engine_for(b, s->config->is.backend, &engine, &err) < 0) {
        on_opened(s, NULL, &err);
    } else {
        cat_open_log(s, engine, on_opened, s);
    }
}

static void on_again(struct chassis_timer *timer)
{
    struct cat_broker *b = chassis_container_of(timer, struct cat_broker, away);
    for (uint32_t i = 0; b->n_away != 0 && i < b->cap_numbers; i++) {
        struct stream *s = b->by_number[i];
        if (s != NULL && s->phase == STREAM_AWAY && !s->changing) {
            cat_away_open(s);
        }
    }
}

void cat_away_init(struct cat_broker *b)
{
    b->away.run = on_again;
}

int cat_stream_missing(struct cat_broker *b, struct chassis_view name, struct chassis_error *err)
{
    const struct stream *s = cat_model_find(b, name);
    if (s == NULL || s->phase != STREAM_AWAY) {
        return cat_stream_not_found(name, err);
    }
    return chassis_error_set(err, CHASSIS_UNAVAILABLE,
                             "stream '%.*s' is away: its backend '%.*s' cannot be reached",
                             CHASSIS_VIEW_ARG(name), CHASSIS_VIEW_ARG(s->config->is.backend));
}
