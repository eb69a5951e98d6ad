/* What a server says about itself: gRPC server reflection, v1 and, for older servers, v1alpha.
 *
 * Threads: the main thread. Ownership: texts live in dctl->arena; `dynamic` is the caller's.
 */
#ifndef DCTL_REFLECT_H
#define DCTL_REFLECT_H

#include "dctl.h"
#include "proto/dynamic.h"

/* The full names of the services, ending with NULL. */
int dctl_reflect_services(struct dctl *d, const char *const **ret_names, struct chassis_error *err);
/* The one service that `name` means: its full name, or a part of only one full name. */
int dctl_reflect_find(struct dctl *d, const char *name, const char **ret_service,
                      struct chassis_error *err);
/* The files that declare `symbol`, with all they import, linked. */
int dctl_reflect_load(struct dctl *d, const char *symbol, struct chassis_dynamic *dynamic,
                      struct chassis_error *err);

#endif
