/* Writes the showcase's resources as files, for clients that are to judge them:
 *
 *     fuse_xds_dump FOLDER PORT PORT PORT
 */
#include "showcase.h"

static void dump(struct world *w, enum fuse_type type, const char *name, void *data)
{
    char path[700], file[200];
    showcase_file_name(type, name, file);
    snprintf(path, sizeof path, "%s/%s", (const char *)data, file);
    struct chassis_view bytes = world_bytes(w, type, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes.data, 1, bytes.len, f) != bytes.len || fclose(f) != 0) {
        fprintf(stderr, "cannot write '%s'\n", path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    uint16_t ports[SHOWCASE_PORTS];
    void *state;
    if (argc != 2 + SHOWCASE_PORTS) {
        fprintf(stderr, "usage: %s FOLDER PORT PORT PORT\n", argv[0]);
        return 2;
    }
    for (unsigned i = 0; i < SHOWCASE_PORTS; i++) {
        ports[i] = (uint16_t)strtoul(argv[2 + i], NULL, 10);
    }
    world_set_up(&state);
    showcase_fill(state, ports);
    showcase_each(state, dump, argv[1]);
    return world_tear_down(&state);
}
