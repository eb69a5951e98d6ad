/* Contexts: named projects (folders with a draft.yaml) and what they say about the platform.
 *
 * The list is kept in $XDG_CONFIG_HOME/draft/contexts.yaml (~/.config without it).
 * Threads: one at a time. Ownership: strings live in dctl->arena.
 */
#ifndef DCTL_CONTEXT_H
#define DCTL_CONTEXT_H

#include "dctl.h"

/* Members are NULL where the draft.yaml is silent. */
struct dctl_context {
    const char *name;
    const char *root; /* the folder; NULL: no context */
    const char *endpoint;
    const char *events_endpoint;
    const char *routes_endpoint;
    const char *ca, *certificate, *key, *server_name;
    const char *cluster_secret;
};

/* --context, else the nearest draft.yaml upward, else the default; none of these is no error. */
int dctl_context_find(struct dctl *d, struct dctl_context *ret_context, struct chassis_error *err);
/* The nearest draft.yaml from the working directory upward; NULL without. */
const char *dctl_context_upward(struct dctl *d);

#endif
