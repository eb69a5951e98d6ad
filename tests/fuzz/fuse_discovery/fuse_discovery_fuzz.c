/* What proxies may send, over a model that changes: a list of steps, each {kind, length, bytes}.
 *
 * Kinds 0 … 3 are requests of four clients (0 and 1 State of the World, 2 and 3 Delta), as they are;
 * with 16 added the nonce of the client's last answer is appended, so that answers are reached. The
 * others change the model, the clock and the clients. */
#include <chassis/message.h>

#include "base/bytes.h"
#include "unit/fuse_xds_server/rig.h"

enum { CLIENTS = 4, STEPS_MAX = 200, WITH_NONCE = 16 };
enum kind {
    ROUTE = 4,
    NO_ROUTE,
    INSTANCE,
    NO_INSTANCE,
    TURN,
    TIME,
    CONGEST,
    RECONNECT,
    QUARANTINE
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct rig rig;
    struct client clients[CLIENTS];
    char nonces[CLIENTS][64];
};

static void open_client(struct world *w, unsigned i)
{
    char id[8];
    snprintf(id, sizeof id, "c%u", i);
    w->nonces[i][0] = '\0';
    client_open(&w->clients[i], &w->rig, i < 2 ? FUSE_XDS_SOTW : FUSE_XDS_DELTA, "", id);
}

static void take_all(struct world *w)
{
    rig_turn(&w->rig);
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (struct answer *answer; (answer = client_take(&w->clients[i])) != NULL;) {
            memcpy(w->nonces[i], answer->nonce, sizeof answer->nonce);
            answer_free(answer);
        }
    }
}

static void request(struct world *w, unsigned i, struct chassis_view bytes, bool with_nonce)
{
    struct chassis_buf out = {0};
    chassis_buf_append_view(&out, bytes);
    if (with_nonce && w->nonces[i][0] != '\0') {
        chassis_buf_append_byte(&out, (uint8_t)((i < 2 ? 5 : 6) << 3 | 2));
        chassis_buf_append_block(&out, chassis_view_str(w->nonces[i]));
    }
    fuse_xds_request(w->clients[i].session, chassis_buf_view(&out));
    chassis_buf_fini(&out);
}

static void step(struct world *w, unsigned kind, struct chassis_view bytes)
{
    unsigned a = bytes.len > 0 ? bytes.data[0] : 0, b = bytes.len > 1 ? bytes.data[1] : 0;
    unsigned i = a % CLIENTS;
    char name[16], other[16];
    snprintf(name, sizeof name, "r%u", a % 8);
    snprintf(other, sizeof other, "s%u", b % 4);
    if (kind < WITH_NONCE + CLIENTS && (kind < CLIENTS || kind >= WITH_NONCE)) {
        request(w, kind % WITH_NONCE, bytes, kind >= WITH_NONCE);
        return;
    }
    switch (kind) {
    case ROUTE:
        rig_route(&w->rig, name, b & 16 ? "shop" : "*", other, b & 32 ? "x" : "");
        break;
    case NO_ROUTE:
        rig_unroute(&w->rig, name);
        break;
    case INSTANCE:
        rig_instance(&w->rig, other, name, b & 64 ? "10.0.0.1:1" : "10.0.0.2:1");
        break;
    case NO_INSTANCE:
        rig_no_instance(&w->rig, name);
        break;
    case TURN:
        take_all(w);
        break;
    case TIME:
        rig_pass(&w->rig, (uint64_t)b * CHASSIS_NS_PER_S);
        break;
    case CONGEST:
        w->clients[i].congested = (b & 1) != 0;
        fuse_xds_writable(w->clients[i].session);
        break;
    case RECONNECT:
        client_close(&w->clients[i]);
        open_client(w, i);
        break;
    case QUARANTINE:
        fuse_xds_quarantine(w->rig.xds, "", name,
                            bytes.len > 1 ? chassis_view(bytes.data + 1, bytes.len - 1)
                                          : (struct chassis_view){0});
        if (w->rig.versions_done != NULL) {
            fuse_store_versions_cb done = w->rig.versions_done;
            w->rig.versions_done = NULL;
            done(0, NULL, NULL, 0, w->rig.versions_data);
        }
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = calloc(1, sizeof *w);
    struct chassis_reader r = chassis_reader(chassis_view(data, size));
    rig_start(&w->rig, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        open_client(w, i);
    }
    for (unsigned n = 0; n < STEPS_MAX && chassis_reader_left(&r) != 0; n++) {
        unsigned kind = chassis_read_byte(&r);
        struct chassis_view bytes = chassis_read_block(&r);
        if (r.bad) {
            break;
        }
        step(w, kind, bytes);
    }
    take_all(w);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_close(&w->clients[i]);
    }
    if (w->rig.versions_done != NULL) {
        w->rig.versions_done(CHASSIS_CANCELLED, NULL, NULL, 0, w->rig.versions_data);
    }
    rig_stop(&w->rig);
    free(w);
    return 0;
}
