#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "envoy/config/core/v3/base.pb-c.h"
#include "fuse/xds/quirk.h"
#include "fuse/xds/state.h"

/* ---- who it is ---- */

static bool fears_ring_hash(const Envoy__Config__Core__V3__Node *node)
{
    bool has_version = node->user_agent_version_type_case ==
                       ENVOY__CONFIG__CORE__V3__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_VERSION;
    return fuse_quirk_fears_ring_hash(node->user_agent_name,
                                      has_version ? node->user_agent_version : "");
}

static char *user_agent_of(const Envoy__Config__Core__V3__Node *node)
{
    enum { AGENT_MAX = 200 };
    char text[AGENT_MAX] = "";
    const char *version =
        node->user_agent_version_type_case ==
                ENVOY__CONFIG__CORE__V3__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_VERSION
            ? node->user_agent_version
            : "";
    const Envoy__Type__V3__SemanticVersion *build =
        node->user_agent_version_type_case ==
                    ENVOY__CONFIG__CORE__V3__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_BUILD_VERSION &&
                node->user_agent_build_version != NULL
            ? node->user_agent_build_version->version
            : NULL;
    if (build != NULL) {
        snprintf(text, sizeof text, "%s %u.%u.%u", node->user_agent_name, build->major_number,
                 build->minor_number, build->patch);
    } else {
        snprintf(text, sizeof text, "%s%s%s", node->user_agent_name, version[0] != '\0' ? " " : "",
                 version);
    }
    return chassis_base_strdup(text);
}

int fuse_session_identify(struct fuse_xds_session *session, const void *data,
                          struct chassis_error *err)
{
    static const Envoy__Config__Core__V3__Node nobody = ENVOY__CONFIG__CORE__V3__NODE__INIT;
    const Envoy__Config__Core__V3__Node *node = data != NULL ? data : &nobody;
    struct fuse_xds *xds = session->xds;
    if (session->group != NULL) {
        return 0;
    }
    if (strlen(node->cluster) > FUSE_NAME_MAX) {
        return chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                                 "node.cluster has %zu bytes: the name of a node group has at most "
                                 "%d",
                                 strlen(node->cluster), FUSE_NAME_MAX);
    }
    session->group = fuse_group_get(xds, node->cluster);
    session->group->n_sessions++;
    chassis_list_append(&session->group->sessions, &session->group_link);
    session->user_agent = user_agent_of(node);
    session->fears_ring_hash = fears_ring_hash(node);
    session->follows_servers = strcmp(node->user_agent_name, "envoy") == 0;
    if (session->fetching) {
        return 0;
    }
    fuse_proxies_add(xds->options.proxies, &session->proxy,
                     node->id[0] != '\0' ? node->id : session->address);
    chassis_log_info(xds->options.log, "a proxy asks", chassis_f_str("proxy", session->proxy.id),
                     chassis_f_str("group", session->group->name),
                     chassis_f_str("agent", session->user_agent),
                     chassis_f_str("address", session->address),
                     chassis_f_str("protocol", session->protocol->name));
    return 0;
}

struct fuse_feed *fuse_session_feed(struct fuse_xds_session *session, const char *type_url,
                                    struct chassis_error *err)
{
    enum fuse_type type = fuse_type_of(type_url);
    if (session->only != FUSE_N_TYPES) {
        if (type_url[0] != '\0' && type != session->only) {
            chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                              "type_url '%.200s' on a stream of '%s': use the aggregated service",
                              type_url, fuse_type_urls[session->only]);
            return NULL;
        }
        type = session->only;
    } else if (type_url[0] == '\0') {
        chassis_error_set(err, CHASSIS_INVALID_ARGUMENT,
                          "type_url is empty: an aggregated stream needs it in every request");
        return NULL;
    }
    if (type == FUSE_N_TYPES) {
        chassis_log_debug(session->xds->options.log, "nothing of this type is served",
                          chassis_f_str("proxy", session->proxy.id),
                          chassis_f_str("type", type_url));
        return NULL;
    }
    if (session->feeds[type] == NULL) {
        session->feeds[type] = fuse_feed_new(session, type);
        if (type == FUSE_SECRET && !session->private_stream) {
            chassis_log_warn(session->xds->options.log,
                             "secrets are not sent over a stream that others can read: use TLS",
                             chassis_f_str("proxy", session->proxy.id));
        }
    }
    return session->feeds[type];
}

bool fuse_session_nonce_is_latest(const struct fuse_feed *feed, const char *nonce)
{
    char latest[FUSE_NONCE_MAX];
    if (feed->nonce == 0) {
        return false;
    }
    fuse_feed_nonce(feed, feed->nonce, latest);
    return strcmp(latest, nonce) == 0;
}

/* ---- what is to be sent, in which order ---- */

void fuse_session_wake(struct fuse_xds_session *session)
{
    if (!session->queued && !session->failed) {
        session->queued = true;
        chassis_list_append(&session->xds->pushing, &session->pushing);
        fuse_xds_wake(session->xds);
    }
}

/* Types whose resources name those of a type: while they are not settled, nothing of it is removed. */
static const uint8_t named_by[FUSE_N_TYPES] = {
    [FUSE_CLUSTER] = 1 << FUSE_LISTENER | 1 << FUSE_ROUTES,
    [FUSE_ENDPOINTS] = 1 << FUSE_CLUSTER | 1 << FUSE_LISTENER | 1 << FUSE_ROUTES,
    [FUSE_LISTENER] = 0,
    [FUSE_ROUTES] = 1 << FUSE_LISTENER,
    [FUSE_SECRET] = 1 << FUSE_LISTENER,
};

static bool is_quiet(const struct fuse_feed *feed)
{
    return feed == NULL ||
           (!feed->outstanding && chassis_list_empty(&feed->makes) &&
            chassis_list_empty(&feed->breaks) && chassis_list_empty(&feed->refused));
}

static bool may_break(const struct fuse_xds_session *session, enum fuse_type type)
{
    for (unsigned other = 0; other < FUSE_N_TYPES; other++) {
        if ((named_by[type] & 1 << other) != 0 && !is_quiet(session->feeds[other])) {
            return false;
        }
    }
    return true;
}

/* What comes first in the order and has to wait for its acknowledgement holds back what follows. */
static bool may_make(const struct fuse_xds_session *session, enum fuse_type type)
{
    for (unsigned other = 0; other < type && type != FUSE_SECRET; other++) {
        const struct fuse_feed *feed = session->feeds[other];
        if (feed != NULL && (!chassis_list_empty(&feed->makes) ||
                             (feed->outstanding && fuse_group_has_stale(session->group, other)))) {
            return false;
        }
    }
    return true;
}

static void feed_push(struct fuse_feed *feed)
{
    struct fuse_xds_session *session = feed->session;
    struct fuse_xds *xds = session->xds;
    bool makes = !chassis_list_empty(&feed->makes) || feed->owed;
    bool breaks = !chassis_list_empty(&feed->breaks) && may_break(session, feed->type);
    if (feed->outstanding || session->blocked || (!makes && !breaks) ||
        !may_make(session, feed->type)) {
        return;
    }
    chassis_buf_clear(&xds->out);
    if (!session->protocol->compose(feed, breaks, &xds->out)) {
        return;
    }
    int rc = session->wire.send(session->wire.data, chassis_buf_view(&xds->out));
    if (rc != 0) {
        fuse_feed_uncommit(feed);
        session->blocked = true; /* until writable, or for ever */
        return;
    }
    fuse_measure_push(feed->type, xds->out.len);
    fuse_feed_commit(feed);
}

void fuse_session_push(struct fuse_xds_session *session)
{
    static const enum fuse_type order[] = {FUSE_CLUSTER, FUSE_ENDPOINTS, FUSE_LISTENER, FUSE_ROUTES,
                                           FUSE_SECRET};
    for (unsigned i = 0; i < FUSE_N_TYPES && !session->failed; i++) {
        if (session->feeds[order[i]] != NULL) {
            feed_push(session->feeds[order[i]]);
        }
    }
}

bool fuse_feed_is_settled(const struct fuse_feed *feed)
{
    return !feed->outstanding && !feed->owed && chassis_list_empty(&feed->makes) &&
           (chassis_list_empty(&feed->breaks) || !may_break(feed->session, feed->type));
}

void fuse_session_fail(struct fuse_xds_session *session, const struct chassis_error *err)
{
    if (!session->failed) {
        session->failed = true;
        chassis_log_warn(session->xds->options.log, "a stream is ended: the proxy broke the rules",
                         chassis_f_str("proxy", session->proxy.id), chassis_f_err(err));
        session->wire.fail(session->wire.data, err);
    }
}

/* ---- life ---- */

int fuse_xds_open(struct fuse_xds *xds, enum fuse_xds_protocol protocol, enum fuse_type only,
                  const struct fuse_xds_peer *peer, const struct fuse_xds_wire *wire,
                  struct fuse_xds_session **ret_session, struct chassis_error *err)
{
    unsigned max = xds->options.proxies_max;
    if (xds->n_sessions >= max) {
        return chassis_error_set(err, CHASSIS_RESOURCE_EXHAUSTED,
                                 "%u proxies are connected, no more are taken: ask another Fuse",
                                 max);
    }
    struct fuse_xds_session *session = chassis_base_zalloc(sizeof *session);
    session->xds = xds;
    session->protocol = protocol == FUSE_XDS_SOTW ? &fuse_sotw : &fuse_delta;
    session->only = only;
    session->wire = *wire;
    session->address = chassis_base_strdup(peer->address);
    session->private_stream = peer->private_stream;
    session->serial = ++xds->serial;
    session->connected_ns = fuse_xds_wall_ns(xds);
    session->proxy.ops = &fuse_session_proxy_ops;
    chassis_list_init(&session->group_link);
    chassis_list_init(&session->pushing);
    chassis_list_append(&xds->sessions, &session->link);
    xds->n_sessions++;
    fuse_measure_sessions(protocol, 1);
    *ret_session = session;
    return 0;
}

void fuse_xds_close(struct fuse_xds_session *session)
{
    struct fuse_xds *xds = session->xds;
    struct fuse_group *group = session->group;
    session->failed = true; /* nothing is sent any more */
    chassis_list_remove(&session->link);
    chassis_list_remove(&session->pushing);
    for (unsigned type = 0; type < FUSE_N_TYPES; type++) {
        struct fuse_feed *feed = session->feeds[type];
        session->feeds[type] = NULL;
        if (feed != NULL) {
            fuse_feed_free(feed);
        }
    }
    CHASSIS_ASSERT(session->bytes == 0);
    xds->n_sessions--;
    fuse_measure_sessions(session->protocol == &fuse_sotw ? FUSE_XDS_SOTW : FUSE_XDS_DELTA, -1);
    if (group != NULL) {
        if (!session->fetching) {
            fuse_proxies_remove(xds->options.proxies, &session->proxy);
        }
        chassis_list_remove(&session->group_link);
        group->n_sessions--;
        fuse_group_release(group);
    }
    chassis_buf_fini(&session->waiting);
    free(session->address);
    free(session->user_agent);
    free(session);
}

void fuse_xds_writable(struct fuse_xds_session *session)
{
    session->blocked = false;
    if (session->group != NULL) {
        fuse_group_can_take(session->group);
    }
    fuse_session_wake(session);
}

/* ---- a fetch ---- */

static int take_answer(void *data, struct chassis_view response)
{
    chassis_buf_append_view(data, response);
    return 0;
}

static void ignore(void *data, const struct chassis_error *err)
{
}

int fuse_xds_fetch(struct fuse_xds *xds, enum fuse_type only, const struct fuse_xds_peer *peer,
                   struct chassis_view encoded, struct chassis_buf *out, struct chassis_error *err)
{
    struct fuse_xds_session *session;
    const struct fuse_xds_wire wire = {take_answer, ignore, out};
    if (!xds->ready) {
        return chassis_error_set(err, CHASSIS_UNAVAILABLE,
                                 "Fuse has not read all routes and processes from Blueprint yet");
    }
    int rc = fuse_xds_open(xds, FUSE_XDS_SOTW, only, peer, &wire, &session, err);
    if (rc != 0) {
        return rc;
    }
    session->fetching = true;
    rc = session->protocol->request(session, encoded, err);
    if (rc == 0) {
        fuse_session_push(session);
    }
    fuse_xds_close(session);
    return rc;
}
