#include <stdatomic.h>

#include <chassis/metrics.h>

#include "fuse/xds/state.h"

static struct chassis_counter *counters[FUSE_N_MEASURES];
static struct chassis_counter *pushes[FUSE_N_TYPES], *bytes[FUSE_N_TYPES], *nacks[FUSE_N_TYPES];
static struct chassis_histogram *acks[FUSE_N_TYPES];
static struct chassis_gauge *sessions[2], *quarantines;

static const struct {
    const char *name, *help;
} texts[FUSE_N_MEASURES] = {
    [FUSE_MEASURE_BUILDS] = {"fuse_xds_builds_total",
                             "Resources encoded, once per change however many proxies have them"},
    [FUSE_MEASURE_COALESCED] = {"fuse_xds_coalesced_total",
                                "Changes that a proxy never saw because a newer one came before it "
                                "acknowledged the last answer"},
    [FUSE_MEASURE_QUARANTINED] = {"fuse_xds_quarantined_total",
                                  "Routes found guilty of a refused answer"},
    [FUSE_MEASURE_ROUNDS] = {"fuse_xds_trial_rounds_total",
                             "Rounds of looking for the route a proxy refuses"},
    [FUSE_MEASURE_STALE_NONCES] = {"fuse_xds_stale_nonces_total",
                                   "Requests that answer an older response than the last"},
};
static const char *const type_names[FUSE_N_TYPES] = {
    [FUSE_CLUSTER] = "cluster", [FUSE_ENDPOINTS] = "endpoints", [FUSE_LISTENER] = "listener",
    [FUSE_ROUTES] = "routes",   [FUSE_SECRET] = "secret",
};

void fuse_measure_init(void)
{
    for (unsigned i = 0; i < FUSE_N_MEASURES; i++) {
        counters[i] = chassis_counter(texts[i].name, texts[i].help, NULL, 0);
    }
    for (unsigned i = 0; i < FUSE_N_TYPES; i++) {
        const struct chassis_label label = {"type", type_names[i]};
        pushes[i] = chassis_counter("fuse_xds_pushes_total", "Answers sent to proxies", &label, 1);
        bytes[i] = chassis_counter("fuse_xds_push_bytes_total", "Bytes of answers sent to proxies",
                                   &label, 1);
        nacks[i] =
            chassis_counter("fuse_xds_nacks_total", "Answers that a proxy refused", &label, 1);
        acks[i] =
            chassis_histogram("fuse_xds_ack_seconds", "From an answer sent to its acknowledgement",
                              NULL, 0, &label, 1);
    }
    const struct chassis_label sotw = {"protocol", "sotw"}, delta = {"protocol", "delta"};
    sessions[FUSE_XDS_SOTW] =
        chassis_gauge("fuse_xds_sessions", "Streams of proxies that are open", &sotw, 1);
    sessions[FUSE_XDS_DELTA] =
        chassis_gauge("fuse_xds_sessions", "Streams of proxies that are open", &delta, 1);
    quarantines = chassis_gauge("fuse_xds_quarantines",
                                "Routes kept away from a node group at present", NULL, 0);
}

void fuse_measure_add(enum fuse_measure measure, uint64_t n)
{
    chassis_counter_add(counters[measure], n);
}

void fuse_measure_sessions(enum fuse_xds_protocol protocol, int delta)
{
    chassis_gauge_add(sessions[protocol], delta);
}

void fuse_measure_quarantines(int delta)
{
    chassis_gauge_add(quarantines, delta);
}

void fuse_measure_push(enum fuse_type type, size_t size)
{
    chassis_counter_add(pushes[type], 1);
    chassis_counter_add(bytes[type], size);
}

void fuse_measure_nack(enum fuse_type type)
{
    chassis_counter_add(nacks[type], 1);
}

void fuse_measure_ack(enum fuse_type type, double seconds)
{
    chassis_histogram_observe(acks[type], seconds);
}
