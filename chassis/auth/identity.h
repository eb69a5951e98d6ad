/* Who a process is and whom it trusts: TLS files that are read again when they change.
 *
 * All in the process that name the same files share one identity. Its files are looked at every
 * CHASSIS_AUTH_LOOK_MS by the thread `certs`, which exists while there is an identity. What changed is
 * read when it has rested from one look to the next, and taken if it is good: the files are whole, key
 * and certificate belong together and are valid now. So a change is taken between one and two
 * intervals after the last file was written. What is not good is logged, is shown by the metrics, and
 * is tried again at every look; the content before it stays.
 *
 *     chassis_certificate_not_after_seconds{file}        when what is in use ends
 *     chassis_certificate_refused{file}                  1 while the files cannot be taken
 *     chassis_certificate_reloads_total{file,result}     taken, refused
 *
 * Invariants: an identity has a good content from the moment it is opened; a content is constant; of
 * two contents the later has the larger generation, in the whole process.
 * Threads: any; a watch is told on `certs`, never after its stop has returned. Nobody stops a watch or
 * closes an identity in `changed`, or holding a lock that a `changed` wants.
 * Ownership: open and close are counted, as are ref and unref of a content.
 */
#ifndef CHASSIS_AUTH_IDENTITY_H
#define CHASSIS_AUTH_IDENTITY_H

#include <stdint.h>

#include <chassis/buf.h>
#include <chassis/error.h>

#include "base/list.h"

enum { CHASSIS_AUTH_LOOK_MS = 2000 };

struct chassis_auth_tls {
    struct chassis_buf ca, certificate, key; /* PEM; empty = not given */
    int64_t begins_s, ends_s;                /* of the certificate, since the epoch; 0 without */
    int64_t ca_ends_s;                       /* of the authority that ends last; 0 without */
    uint64_t generation;
};

struct chassis_auth_identity;

/* Paths may be NULL (none), the certificate's and the key's together. Fails when the files are not
 * good, unless somebody has them open who knows a good content. */
int chassis_auth_identity_open(const char *ca, const char *certificate, const char *key,
                               struct chassis_auth_identity **ret_identity,
                               struct chassis_error *err);
void chassis_auth_identity_close(struct chassis_auth_identity *identity); /* NULL is fine */

/* The content as it is now; it lives until it is given back, whatever becomes of the identity. */
const struct chassis_auth_tls *chassis_auth_identity_ref(struct chassis_auth_identity *identity);
void chassis_auth_identity_unref(const struct chassis_auth_tls *tls); /* NULL is fine */

struct chassis_auth_watch {
    void (*changed)(void *data); /* there is a new content; short, does not block */
    void *data;
    struct chassis_list link;
};
void chassis_auth_watch_start(struct chassis_auth_identity *identity,
                              struct chassis_auth_watch *watch);
void chassis_auth_watch_stop(struct chassis_auth_watch *watch);

#endif
