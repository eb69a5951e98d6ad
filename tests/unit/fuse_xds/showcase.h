/* A world with a route of every kind: what is kept as golden files, and what foreign clients are given
 * by tests/e2e/fuse_resources.py, which says what each route does.
 */
#ifndef TESTS_FUSE_XDS_SHOWCASE_H
#define TESTS_FUSE_XDS_SHOWCASE_H

#include "world.h"

enum { SHOWCASE_PORTS = 3 };
/* Services "echo" (at ports[0]), "next" (at ports[1]), "pool" (at both); fixed addresses at
 * ports[2]. */
void showcase_fill(struct world *w, const uint16_t ports[SHOWCASE_PORTS]);
/* Every resource there is, by name, each once. */
void showcase_each(struct world *w,
                   void (*each)(struct world *w, enum fuse_type type, const char *name, void *data),
                   void *data);
/* "Cluster@echo_http": a file for the resource. */
void showcase_file_name(enum fuse_type type, const char *name, char out[200]);

#endif
