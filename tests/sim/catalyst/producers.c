/* Producers: each numbers its events, has some batches under way, and repeats, in order and with the
 * same ids, what it has no answer for. Checked: whatever was acknowledged stands in the stream once,
 * and a producer's events stand in its order.
 */
#include "world.h"

#include "catalyst/event/build.h"

enum { BATCH_MAX = 12, WINDOW = 4, NUMBERS = 20000 };

struct batch {
    struct cat_publish publish;
    struct cat_publish_event events[BATCH_MAX];
    struct chassis_buf bytes[BATCH_MAX];
    uint32_t numbers[BATCH_MAX];
    struct batch *next; /* of the producer's, oldest first */
    bool sent, done;
};
struct producer {
    uint32_t number;
    unsigned stream;
    uint32_t next;     /* number of the next event */
    struct batch *out; /* not acknowledged */
    unsigned n_out;
    struct cat_publish_order order;
    uint64_t retry_ns;
    uint64_t sequences[NUMBERS]; /* of acknowledged events */
    bool refused[NUMBERS];       /* later ones may have been taken then: it pipelines */
};
static struct producer producers[PRODUCERS];
static bool stopped;

static void batch_free(struct batch *b)
{
    for (uint32_t i = 0; i < b->publish.n_events; i++) {
        chassis_buf_fini(&b->bytes[i]);
    }
    free(b);
}

static void on_done(struct cat_publish *publish)
{
    chassis_container_of(publish, struct batch, publish)->done = true;
}

static struct batch *batch_new(struct producer *p)
{
    struct batch *b = calloc(1, sizeof *b);
    unsigned n = 1 + (unsigned)chassis_prng_below(prng(), BATCH_MAX);
    CHASSIS_ASSERT(b != NULL);
    for (unsigned i = 0; i < n; i++) {
        char id[32], key[16];
        uint8_t data[400] = {0};
        b->numbers[i] = p->next++;
        snprintf(id, sizeof id, "%u:%u", p->number, b->numbers[i]);
        snprintf(key, sizeof key, "key-%u", (unsigned)chassis_prng_below(prng(), KEYS));
        struct cat_attribute attribute = {chassis_view_str("partitionkey"),
                                          cat_value_string(chassis_view_str(key))};
        struct cat_event_parts parts = {
            .id = chassis_view_str(id),
            .source = chassis_view_str("/sim"),
            .type = chassis_view_str("sim.event"),
            .attributes = &attribute,
            .attribute_count = 1,
            .data_kind = CAT_DATA_BINARY,
            .data = chassis_view(data, chassis_prng_below(prng(), sizeof data)),
        };
        cat_event_build(&parts, &b->bytes[i]);
        int rc = cat_event_parse(chassis_buf_view(&b->bytes[i]), &b->events[i].event, NULL);
        CHASSIS_ASSERT(rc == 0);
    }
    b->publish.stream = chassis_view_str(stream_names[p->stream]);
    b->publish.events = b->events;
    b->publish.n_events = n;
    b->publish.order = &p->order;
    b->publish.done = on_done;
    struct batch **end = &p->out;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = b;
    p->n_out++;
    return b;
}

static void send_now(void *data)
{
    struct batch *b = data;
    cat_publish(w.broker, &b->publish);
}

static void acknowledged(struct producer *p, const struct batch *b, uint32_t i)
{
    const struct cat_publish_event *e = &b->events[i];
    w.report.published++;
    w.report.duplicates += e->duplicate;
    if (e->status != 0) {
        wrong("producer %u, event %u: status %d", p->number, b->numbers[i], e->status);
    } else if (e->sequence != 0) {
        learn(p->stream, e->sequence, (struct event_id){p->number, b->numbers[i]});
        w.acked[p->stream][e->sequence] = true;
        p->sequences[b->numbers[i]] = e->sequence;
    } else if (!e->duplicate || p->stream != 1) {
        wrong("producer %u, event %u: acknowledged without a place", p->number, b->numbers[i]);
    }
}

static void note_refused(struct producer *p, const struct batch *b)
{
    if (b->done && b->publish.status != 0) {
        memset(p->refused + b->numbers[0], 1, b->publish.n_events);
    }
}

/* Take answers, oldest first. After a refusal everything behind it is sent again too, in order. */
static void take_answers(struct producer *p)
{
    while (p->out != NULL && p->out->done) {
        struct batch *b = p->out;
        if (b->publish.status != 0) {
            if (b->publish.status != CHASSIS_NO_SPACE && b->publish.status != CHASSIS_BUSY &&
                b->publish.status != CHASSIS_NOT_FOUND &&
                b->publish.status != CHASSIS_SHUTTING_DOWN) {
                wrong("producer %u: %s", p->number, b->publish.err.text);
            }
            for (const struct batch *later = b; later != NULL; later = later->next) {
                if (later->sent && !later->done) {
                    return; /* wait until all are answered */
                }
            }
            for (struct batch *later = b; later != NULL; later = later->next) {
                note_refused(p, later);
                later->sent = later->done = false;
            }
            w.report.refused++;
            p->retry_ns = chassis_sim_now_ns(w.sim) + 20 * CHASSIS_NS_PER_MS;
            return;
        }
        for (uint32_t i = 0; i < b->publish.n_events; i++) {
            acknowledged(p, b, i);
        }
        p->out = b->next;
        p->n_out--;
        batch_free(b);
    }
}

static void send_waiting(struct producer *p)
{
    if (!w.up || chassis_sim_now_ns(w.sim) < p->retry_ns) {
        return;
    }
    for (struct batch *b = p->out; b != NULL; b = b->next) {
        if (!b->sent) {
            b->sent = true;
            b->done = false;
            world_call(send_now, b);
        }
    }
}

void producers_init(void)
{
    memset(producers, 0, sizeof producers);
    stopped = false;
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i].number = i + 1;
        producers[i].next = 1;
        producers[i].stream = i % STREAMS;
    }
}

void producers_act(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *p = &producers[i];
        take_answers(p);
        if (!stopped && p->n_out < WINDOW && p->next + BATCH_MAX < NUMBERS &&
            w.last_seen[p->stream] + 1000 < SEQUENCES && chance(0.3)) {
            batch_new(p);
        }
        send_waiting(p);
    }
}

void producers_lost(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *p = &producers[i];
        take_answers(p);
        for (struct batch *b = p->out; b != NULL; b = b->next) {
            note_refused(p, b);
            b->sent = b->done = false;
        }
        p->order = (struct cat_publish_order){0};
    }
}

void producers_stop(void)
{
    stopped = true;
}

bool producers_done(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        if (producers[i].out != NULL) {
            return false;
        }
    }
    return true;
}

void producers_check(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        const struct producer *p = &producers[i];
        uint64_t before = 0;
        for (uint32_t n = 1; n < p->next; n++) {
            uint64_t sequence = p->sequences[n];
            if (sequence != 0 && sequence <= before && !p->refused[n]) {
                wrong("producer %u: event %u stands at %" PRIu64 ", behind it %" PRIu64, p->number,
                      n, sequence, before);
            }
            before = sequence > before && !p->refused[n] ? sequence : before;
        }
    }
}

void producers_fini(void)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        while (producers[i].out != NULL) {
            struct batch *next = producers[i].out->next;
            batch_free(producers[i].out);
            producers[i].out = next;
        }
    }
}
