/* What the kv commands share. Threads: as dctl.h. */
#ifndef DCTL_KV_H
#define DCTL_KV_H

#include "core/registry/key_value/v1/key_value.chassis.h"
#include "value.h"

typedef Core__Registry__KeyValue__V1__Meta kv_meta;

/* Revision, versions, time and actor, as far as `meta` is there. */
void dctl_kv_add_meta(struct dctl *d, struct dctl_node *record, const kv_meta *meta);

#endif
